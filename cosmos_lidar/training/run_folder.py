"""Run folder: its path, what of an earlier run is moved aside for a new one, and folders of other trainers."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from cosmos_lidar.errors import UserError
from cosmos_lidar.log import logger
from cosmos_lidar.training.checkpoint.manifest import MANIFEST, new_aside
from cosmos_lidar.training.config import AnyConfig
from cosmos_lidar.training.overrides import describe

CHECKPOINTS, METRICS, CONFIG = "checkpoints", "metrics.csv", "config.yaml"
UNTIL = "config_until_{:09d}.yaml"  # options up to a step after which some changed
PUBLISHED_POINTER = "latest_checkpoint.txt"  # the published trainer resumes from the file whose name is in it
WEIGHTS = ("checkpoint", "jit_ckpt_pth")  # what the families call the weights to start from, below model.
_WRITTEN = (CHECKPOINTS, METRICS, "logs", "dumps", "hang.txt", "validation", "synthetic")  # by runs, beside CONFIG
_STEP = re.compile(r"\.?iter_(\d{9})(?!\d)")


def run_folder(run: AnyConfig) -> Path:
    """Return ROOT/PROJECT/GROUP/NAME, where ROOT is ``log.root``, else ``$OUTPUT_ROOT``, else ``checkpoints``.

    An empty GROUP is the family, an empty NAME the recipe.
    """
    log = run.log
    root = log.root or os.environ.get("OUTPUT_ROOT") or "checkpoints"
    return Path(root, log.project, *group_and_name(run))


def group_and_name(run: AnyConfig) -> tuple[str, str]:
    """Return the last two folders of :func:`run_folder`."""
    return run.log.group or run.family, run.log.name or run.recipe or "run"


def is_used(folder: Path) -> bool:
    """Tell whether a run got so far in ``folder`` that there is something to lose: a row, a checkpoint or an export."""
    checkpoints, metrics = folder / CHECKPOINTS, folder / METRICS
    logged = metrics.is_file() and len(metrics.read_bytes().splitlines()) > 1
    return logged or (checkpoints.is_dir() and any(_is_made(path) for path in checkpoints.iterdir()))


def move_run_aside(run: AnyConfig, folder: Path) -> Path | None:
    """Move all that an earlier run wrote to ``folder/aside/NNN``, before another one starts; returns where.

    Args:
        run: the configuration of the new run.
        folder: of both.

    Raises:
        UserError: the new run reads a file that would be moved.
    """
    if not is_used(folder):
        return None
    moved = [path for name in (*_WRITTEN, CONFIG) if (path := folder / name).exists()]
    moved += [path for _, path in _former_options(folder)]
    for key, value, _ in describe(run):
        if not isinstance(value, str) or not value or key.startswith("log."):
            continue
        named = Path(value).absolute()
        if named.exists() and any(named.is_relative_to(path.absolute()) for path in moved):
            raise UserError(
                f"{key}={value} lies in {folder}, whose earlier run would be moved aside for this one: "
                "another log.name keeps it where it is"
            )
    target = new_aside(folder)
    for path in moved:
        path.rename(target / path.name)
    logger.warning("%s holds an earlier run, which is now in %s; this one starts from scratch", folder, target)
    return target


def move_branch_aside(folder: Path, step: int) -> Path | None:
    """Move checkpoints and exports of later steps than ``step`` to ``folder/aside/NNN``; returns where, or None.

    Their rows of ``metrics.csv`` and their ``config.yaml`` are copied there. What a run writes after it resumed from
    ``step`` then cannot be mixed up with them.
    """
    checkpoints = folder / CHECKPOINTS
    found = [path for path in checkpoints.iterdir() if _is_made(path) and _step(path) > step]
    if not found:
        return None
    target = new_aside(folder)
    (target / CHECKPOINTS).mkdir()
    for path in found:
        path.rename(target / CHECKPOINTS / path.name)
    for until, path in _former_options(folder):
        if until > step:
            path.rename(target / path.name)
    for name in (METRICS, CONFIG):
        if (folder / name).is_file():
            shutil.copy2(folder / name, target / name)
    names = sorted({f"iter_{_step(path):09d}" for path in found})
    logger.warning("this run goes on from step %d; what came later (%s) is now in %s", step, ", ".join(names), target)
    return target


def refuse_published(run: AnyConfig, folder: Path) -> None:
    """Refuse a run folder that the published trainer wrote: it has the same layout, and names that ours would replace.

    Raises:
        UserError: the message names its newest checkpoint, and how to start from that.
    """
    checkpoints = folder / CHECKPOINTS
    newest = published_checkpoint(checkpoints)
    if newest is None:
        return
    key = next((name for name in WEIGHTS if hasattr(run.model, name)), WEIGHTS[0])
    start = f"To start from its weights: model.{key}={newest} and another log.name"
    raise UserError(
        f"{folder} is a run of the published trainer, whose newest checkpoint is {newest}: it is not written over. "
        + (start if newest.suffix == ".pt" else "Give another log.name")
    )


def published_checkpoint(checkpoints: Path) -> Path | None:
    """Return the newest file of weights in the ``checkpoints`` folder of a run of the published trainer.

    Known by its pointer, which names a file ``iter_N.pt``; by its folders ``model``, ``optim``; or by ``iter_N.pt``
    beside nothing of ours. None where it is no such run.
    """
    if not checkpoints.is_dir():
        return None
    pointed = _pointed(checkpoints)
    ours = (checkpoints / CONFIG).is_file() or any(checkpoints.glob(f"iter_*/{MANIFEST}"))
    folders = any((checkpoints / name).is_dir() for name in ("model", "optim"))
    if not pointed.endswith(".pt") and not folders and ours:
        return None
    # the pointer moves while files are being written: it can name what is not there
    files = [path for place in ("model", "") for path in (checkpoints / place).glob("iter_*.pt") if _step(path) >= 0]
    sharded = [path.parent for path in checkpoints.glob("iter_*/model") if _step(path.parent) >= 0]
    if not files and not sharded:
        return checkpoints / pointed if pointed.endswith(".pt") else None
    return max((*files, *sharded), key=_weights_first)


def options_at(folder: Path, step: int) -> Path:
    """Return the file with the options that step ``step`` (from 1) of the run in ``folder`` was trained with."""
    return next((path for until, path in _former_options(folder) if until >= step), folder / CONFIG)


def _former_options(folder: Path) -> list[tuple[int, Path]]:
    """Return (last step, file) of the options that changed during a run, in order."""
    pattern = re.compile(UNTIL.format(0).replace("0" * 9, r"(\d+)").replace(".yaml", r"\.yaml"))
    named = ((pattern.fullmatch(path.name), path) for path in folder.glob("config_until_*"))
    return sorted((int(match[1]), path) for match, path in named if match)


def _pointed(checkpoints: Path) -> str:
    try:
        return (checkpoints / PUBLISHED_POINTER).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _weights_first(path: Path) -> tuple[int, bool, bool]:
    """Order files by step; of one step, those of a network's weights before those with a trainer's state."""
    state = path.stem.endswith("_optim")
    return _step(path), not state, path.stem.endswith("_reg_model") or path.parent.name == "model"


def _step(path: Path) -> int:
    """Return the step in the name of a checkpoint or export, finished or put aside; -1 for other names."""
    match = _STEP.match(path.name)
    return int(match[1]) if match else -1


def _is_made(path: Path) -> bool:
    """Tell a checkpoint or export from what a killed process left half written or half deleted."""
    return _step(path) >= 0 and not (path.name.startswith(".") and path.name.endswith((".part", ".gone")))
