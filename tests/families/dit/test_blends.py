"""Training on a blend of two folders: interrupted and resumed, the losses are those of the uninterrupted run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("nemo")

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.dit.job import synthetic_latents
from cosmos_lidar.recipes import dit
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.run_log import read_metrics
from tests.shards.energon_folders import metadataset

OPTIONS = ["synthetic_clips=0", "log.tensorboard=false", "trainer.val_every=0", "trainer.val_at_start=false",
           "trainer.save_every=0", "data.batch_size=2"]  # fmt: skip


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A metadataset of two folders of latents: 6 and 3 samples, drawn equally often."""
    root = tmp_path_factory.mktemp("latents")
    for name, clips, seed in (("a", 8, 1), ("b", 4, 2)):
        run = dit.debug()
        synthetic_latents(root / name, replace(run, synthetic_clips=clips, trainer=replace(run.trainer, seed=seed)))
    splits = "  train:\n    blend: [{path: a}, {path: b}]\n  val:\n    blend_epochized: [{path: a}, {path: b}]\n"
    return metadataset(root / "mix.yaml", splits)


def train(root: Path, name: str, data: object, *options: str) -> list[tuple[str, ...]]:
    asked = [*OPTIONS, f"data.path={data}", f"log.root={root}", f"log.name={name}", *options]
    folder = dit.FAMILY.train(apply_overrides(dit.debug(), asked)).folder
    rows = read_metrics(folder / "metrics.csv")
    validations = [tuple(row[name] for name in row if name.startswith("val/")) for row in rows if row["val/loss"]]
    return [(row["step"], row["loss"], row["grad_norm"]) for row in rows if row["loss"]] + validations[-1:]


def test_interrupted_is_uninterrupted(mix: Path, tmp_path: Path) -> None:
    whole = train(tmp_path, "whole", mix, "trainer.max_steps=8")
    train(tmp_path, "part", mix, "trainer.max_steps=3")
    part = train(tmp_path, "part", mix, "trainer.max_steps=8")
    assert part == whole
    assert len(whole) == 9
    other = train(tmp_path, "other", mix.parent / "a", "trainer.max_steps=8")
    assert other != whole


def test_a_run_resumes_with_more_data(mix: Path, tmp_path: Path) -> None:
    train(tmp_path, "more", mix.parent / "a", "trainer.max_steps=2")
    both = f"{mix.parent}/a,{mix.parent}/b"
    with pytest.raises(UserError, match="data.path: .*trainer.restart_data=true begins a new shuffle"):
        train(tmp_path, "more", both, "trainer.max_steps=4")
    rows = train(tmp_path, "more", both, "trainer.max_steps=4", "trainer.restart_data=true")
    assert [row[0] for row in rows[:-1]] == ["1", "2", "3", "4"]
