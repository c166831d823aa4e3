"""Launch files as text (SLURM batch script, cluster files, Kubernetes manifest), for use without a checkout.

``cosmos-lidar launch --print slurm > train.sbatch``; ``sbatch train.sbatch lidar_tokenizer data.path=/data/shards``
"""

from __future__ import annotations

from pathlib import Path

from cosmos_lidar.errors import UserError

_FOLDER = Path(__file__).parent
_IN_A_CHECKOUT = """\
if (($# == 0)) || [[ ! -f launch/slurm/ranks.sh || ! -f $1 ]]; then
    echo "usage, from the root of the repository: sbatch launch/slurm/train.sbatch recipes/NAME.py [key=value ...]"
    echo "found no file ${1:-(none named)} in $PWD"
    exit 2
fi
# shellcheck source=launch/slurm/ranks.sh
source launch/slurm/ranks.sh
"""
_ANYWHERE = """\
if (($# == 0)); then
    echo "usage: sbatch train.sbatch RECIPE [key=value ...]; RECIPE: a name, such as lidar_tokenizer, or a recipe file"
    exit 2
fi
"""
_RANK = 'bash launch/slurm/rank.sh "$python" "$@"'
_RANK_ANYWHERE = 'bash -c "$rank" rank "$python" -m cosmos_lidar train "$@"'
_TEXTS = (  # of train.sbatch -> its replacement in a script that needs no repository
    ("sbatch launch/slurm/train.sbatch recipes/lidar_tokenizer.py", "sbatch train.sbatch lidar_tokenizer"),
    ("    launch/slurm/train.sbatch recipes/lidar_tokenizer.py", "    train.sbatch lidar_tokenizer"),
    ("Submit from the root of the repository. One", "Submit from a folder that all nodes share. One"),
    ("the repository itself is always mounted", "the folder of submission is always mounted"),
    ("see ranks.sh", "see below"),
)


def names() -> list[str]:
    """Return what can be printed: batch scripts for training and preparing, kubernetes, the example cluster files."""
    return [
        "slurm",
        "slurm-prepare",
        "kubernetes",
        *sorted(path.stem for path in (_FOLDER / "clusters").glob("*.yaml")),
    ]


def text_of(name: str) -> str:
    """Return a launch file.

    Args:
        name: one of :func:`names`. The batch script ``slurm`` is complete in itself: the shell functions and the
            program of a rank are written into it, and it starts ``python -m cosmos_lidar train``.

    Raises:
        UserError: no such file.
    """
    if name not in names():
        raise UserError(f"--print {name}: valid: {', '.join(names())}")
    if name == "slurm":
        return _batch_script()
    paths = {"kubernetes": "kubernetes/pytorchjob.yaml", "slurm-prepare": "slurm/prepare.sbatch"}
    path = paths.get(name, f"clusters/{name}.yaml")
    return (_FOLDER / path).read_text(encoding="utf-8")


def _batch_script() -> str:
    text, ranks, rank = (
        (_FOLDER / "slurm" / one).read_text("utf-8") for one in ("train.sbatch", "ranks.sh", "rank.sh")
    )
    program = f"rank=$(\n    cat <<'RANK_SH'\n{rank}RANK_SH\n)\n"
    functions = ranks.partition("\n")[2]  # without the line for shellcheck
    changes = (*_TEXTS, (_IN_A_CHECKOUT, _ANYWHERE + functions + "\n" + program), (_RANK, _RANK_ANYWHERE))
    for old, new in changes:
        _check(old, text)
        text = text.replace(old, new)
    return text


def _check(old: str, text: str) -> None:
    if old not in text:
        raise RuntimeError(f"train.sbatch has changed: {old!r} is not in it")
