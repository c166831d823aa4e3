"""Sample loaders that a user wrote and trusts: the same batches as without them, by loaders, commands and recipes."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pytest

pytest.importorskip("nemo")

from cosmos_lidar.cli import main
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.log import logger
from cosmos_lidar.recipes import dit
from cosmos_lidar.shards.check_mix import check_mix
from cosmos_lidar.shards.manifest import index_with_energon
from cosmos_lidar.training.overrides import apply_overrides
from tests.energon_tasks.mixes import KINDS, open_loader, take, write
from tests.training.debug_runs import FEW

PREFIX = "mine-"
CODE = f"""
def sample_loader(raw):
    return {{name.removeprefix("{PREFIX}"): raw[name] for name in raw if name.startswith("{PREFIX}")}}

def images(raw):
    return {{"image": raw["{PREFIX}mp4"]}}

def part_filter(part):
    return part.startswith("{PREFIX}")
"""
NAMED = "sample_loader: sample_loader.py\npart_filter: sample_loader.py\n"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of every sample type, and others (``KIND-mine``) whose parts have names of their own."""
    root = tmp_path_factory.mktemp("loaders")
    for kind in KINDS:
        rename_parts(write(kind, root / kind, "clip", 4), root / f"{kind}-mine")
    return root


def rename_parts(folder: Path, to: Path, code: str = CODE) -> None:
    """Copy a folder with other names of its parts, a part that is not read, and a sample loader."""
    unwanted = (".nv-meta", "*.idx", "*.tar", "manifest.json", "videos.json", "views.json", "*.jsonl")
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns(*unwanted))
    names = sorted(path.name for path in folder.glob("*.tar"))
    for name in names:
        with tarfile.open(folder / name) as old, tarfile.open(to / name, "w") as new:
            for member in old:
                content, (key, _, part) = old.extractfile(member), member.name.partition(".")
                member.name = f"{key}.{PREFIX}{part}"
                new.addfile(member, content)
    kind = folder.name.replace("sweeps", "lidar").replace("videos", "video")
    index_with_energon(to, names, sample_type=kind)
    (to / ".nv-meta" / "sample_loader.py").write_text(code)
    with (to / ".nv-meta" / "dataset.yaml").open("a") as file:
        file.write(NAMED)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind == "latents" else pytest.mark.slow) for kind in KINDS]
)
def test_the_batches_are_those_of_the_parts(folders: Path, kind: str, caplog, monkeypatch) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    mine = folders / f"{kind}-mine"
    wanted = take(open_loader(kind, folders / kind), 6)
    assert take(open_loader(kind, mine, trust_sample_loaders=True), 6) == wanted
    assert f"running sample_loader of {mine / '.nv-meta' / 'sample_loader.py'}" in caplog.text
    with pytest.raises(DataError, match="sample_loader: .*is not accepted.*data.trust_sample_loaders=true"):
        open_loader(kind, mine)


def test_typed_samples_as_energon_prepare_describes_them(folders: Path, tmp_path: Path) -> None:
    mine = tmp_path / "videos-mine"
    shutil.copytree(folders / "videos-mine", mine)
    sample_type = "sample_type:\n  __module__: megatron.energon\n  __class__: ImageSample\n"
    (mine / ".nv-meta" / "dataset.yaml").write_text(sample_type + NAMED.replace("loader.py", "loader.py:images", 1))
    wanted = take(open_loader("videos", folders / "videos", "val"), 2)
    assert take(open_loader("videos", mine, "val", trust_sample_loaders=True), 2) == wanted


def test_a_loader_that_fails_counts_as_a_bad_sample(folders: Path, tmp_path: Path) -> None:
    code = CODE.replace(
        "    return {name", "    if '2_x' in raw['__key__']: raise ValueError('odd')\n    return {name", 1
    )
    rename_parts(folders / "latents", tmp_path / "mine", code)
    path = tmp_path / "mine" / ".nv-meta" / "dataset.yaml"
    path.write_text(path.read_text().replace("sample_type: mine", "sample_type: latents"))
    rest = {"batch_size": 1, "trust_sample_loaders": True}
    loader = open_loader("latents", tmp_path / "mine", bad_sample_budget=0.9, **rest)
    keys = {key for key, *_ in take(loader, 9)}
    assert keys == {"clip0_x", "clip1_x", "clip3_x"}
    (problem,) = loader.skip_report.problems()
    assert problem["key"] == "clip2_x"
    assert "sample_loader.py failed: ValueError: odd" in problem["problem"]
    with pytest.raises(UserError, match="odd"):
        take(open_loader("latents", tmp_path / "mine", bad_sample_budget=0.0, **rest), 9)


def test_check_and_doctor_and_a_recipe(tmp_path: Path, capsys, caplog, monkeypatch) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    mine, plain = tmp_path / "mine", write("latents", tmp_path / "latents", "clip", 3, shape=(16, 2, 4, 6))
    rename_parts(plain, mine)
    assert main(["check", str(mine)]) == 1
    assert "--trust-sample-loaders of `check`" in " ".join(capsys.readouterr().out.split())
    assert main(["check", str(mine), "--trust-sample-loaders"]) == 0
    assert check_mix(f"{mine},{plain}", trust=True) == []
    options = ["recipe=debug", f"data.path={mine}", "data.workers=0"]
    capsys.readouterr()
    assert main(["doctor", "dit", *options]) == 1
    assert "data.trust_sample_loaders=true" in " ".join(capsys.readouterr().out.split())
    main(["doctor", "dit", *options, "data.trust_sample_loaders=true", "--json"])
    lines = [row for row in json.loads(capsys.readouterr().out)["findings"] if row["topic"] == "data"]
    assert "the run executes sample_loader of" in lines[0]["text"]
    caplog.clear()
    usual = [*FEW, "trainer.max_steps=1", *options[1:], f"log.root={tmp_path}", "log.name=trusting"]
    done = dit.train(apply_overrides(dit.debug(), [*usual, "data.trust_sample_loaders=true"]))
    assert (done.folder / "metrics.csv").is_file()
