"""Training camera-to-lidar diffusion: the loss by the formula, exact resume, published files, and what cannot work."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cosmos_lidar.families.dit.job import make_network
from cosmos_lidar.families.lidargen.config import LidarGenTrainConfig
from cosmos_lidar.recipes import lidargen
from cosmos_lidar.training.checkpoint.reading import load_full
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.run_log import read_metrics
from tests.workers.client import torchrun

pytest.importorskip("nemo")

ROOT = Path(__file__).resolve().parents[3]
FEW = ["log.tensorboard=false", "trainer.val_every=0", "trainer.save_every=0"]


def some_run(root: Path, name: str, *options: str) -> LidarGenTrainConfig:
    return apply_overrides(lidargen.debug(), [*FEW, f"log.root={root}", f"log.name={name}", *options])


def losses(folder: Path) -> list[tuple[str, str, str]]:
    return [(r["step"], r["loss"], r["mse"]) for r in read_metrics(folder / "metrics.csv") if r["loss"]]


def test_the_loss_falls_and_the_published_files_load(tmp_path: Path) -> None:
    folder = lidargen.train(some_run(tmp_path, "a", "trainer.max_steps=100")).folder
    rows = [row for row in read_metrics(folder / "metrics.csv") if row["val/mse"]]
    assert float(rows[-1]["val/mse"]) < 0.8 * float(rows[0]["val/mse"])
    path = folder / "checkpoints" / "iter_000000100_ema_model.pt"
    state = torch.load(path, weights_only=True)
    published = state | {"logvar.0.freqs": torch.zeros(128), "net.blocks.block0._extra_state": torch.zeros(1)}
    torch.save({"model": published}, tmp_path / "model.pt")
    network = make_network(some_run(tmp_path, "b", f"model.checkpoint={tmp_path / 'model.pt'}"))
    assert all(torch.equal(value, state[f"net.{name}"]) for name, value in network.state_dict().items())


@pytest.mark.slow
def test_interrupted_is_uninterrupted(tmp_path: Path) -> None:
    data = lidargen.train(some_run(tmp_path, "data", "trainer.max_steps=1")).folder / "synthetic"
    where = f"data.path={data}"
    whole = lidargen.train(some_run(tmp_path, "whole", "trainer.max_steps=6", where)).folder
    lidargen.train(some_run(tmp_path, "part", "trainer.max_steps=3", where))
    part = lidargen.train(some_run(tmp_path, "part", "trainer.max_steps=6", where)).folder
    assert losses(whole) == losses(part)
    ours, theirs = (load_full(folder / "checkpoints" / "iter_000000006") for folder in (whole, part))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.slow
@pytest.mark.parametrize("mesh", ["parallel.context=2", "parallel.tensor=2"])
def test_two_processes_are_one(mesh: str, tmp_path: Path) -> None:
    data = lidargen.train(some_run(tmp_path, "data", "trainer.max_steps=1")).folder / "synthetic"
    options = [*FEW, "trainer.max_steps=3", f"data.path={data}", f"log.root={tmp_path}"]
    program = [str(ROOT / "recipes" / "lidargen.py"), "recipe=debug", "log.name=two", mesh, *options]
    done = torchrun(2, *program)
    assert done.returncode == 0, done.stderr[-3000:]
    one = losses(lidargen.train(some_run(tmp_path, "one", "trainer.max_steps=3", f"data.path={data}")).folder)
    two = losses(tmp_path / "posttraining" / "diffusion_text2world" / "two")
    for ours, theirs in zip(one, two, strict=True):
        assert [float(x) for x in ours] == pytest.approx([float(x) for x in theirs], rel=1e-4)
