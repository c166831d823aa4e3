"""Training camera-to-lidar diffusion: the loss by the formula, exact resume, published files, and what cannot work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.dit.job import make_network
from cosmos_lidar.families.lidargen.config import LidarGenTrainConfig
from cosmos_lidar.recipes import lidargen
from cosmos_lidar.shards.latents import SAMPLE_TYPE, pack_canvas
from cosmos_lidar.shards.manifest import index_with_energon
from cosmos_lidar.training.checkpoint.reading import load_full
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.run_log import read_metrics
from tests.workers.client import torchrun

pytest.importorskip("nemo")
webdataset = pytest.importorskip("webdataset")

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


def write_aligned(folder: Path, aligned: bool) -> Path:
    """Shards of random latents; features of the range map are averages of its latents, as far as a head can learn."""
    rng = np.random.default_rng(0)
    names = ["train-000000.tar", "val-000000.tar"]
    folder.mkdir()
    for name in names:
        with webdataset.TarWriter(str(folder / name), mtime=0) as tar:
            for number in range(4):
                latent = rng.normal(size=(16, 3, 8, 16)).astype(np.float32)
                tokens = latent[:, 0, :6, :16].reshape(16, 3, 2, 8, 2).mean((2, 4)).transpose(1, 2, 0)
                parts = pack_canvas(torch.from_numpy(latent), None, tokens if aligned else None)
                tar.write({"__key__": f"{name[:3]}_{number}", "meta.json": b'{"clip_id": "c"}', **parts})
    index_with_energon(folder, names, sample_type=SAMPLE_TYPE)
    return folder


def test_alignment_with_a_backbone_falls_and_is_nothing_when_off(tmp_path: Path) -> None:
    data = write_aligned(tmp_path / "aligned", True)
    few = ["trainer.max_steps=3", f"data.path={write_aligned(tmp_path / 'plain', False)}"]
    plain = lidargen.train(some_run(tmp_path, "plain", *few)).folder
    off = lidargen.train(some_run(tmp_path, "off", *few, f"data.path={data}")).folder
    assert losses(plain) == losses(off)
    states = [load_full(folder / "checkpoints" / "iter_000000003") for folder in (plain, off)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])

    words = ["model.alignment.weight=0.5", "model.alignment.block=1", "model.alignment.hidden=32", f"data.path={data}"]
    run = lidargen.FAMILY.choose(
        ["recipe=debug", *FEW, *words, "trainer.max_steps=40", f"log.root={tmp_path}", "log.name=on"]
    )
    folder = lidargen.train(run[0]).folder
    rows = [row for row in read_metrics(folder / "metrics.csv") if row["alignment"]]
    assert float(rows[0]["alignment"]) == pytest.approx(1.0, abs=0.3)
    assert float(rows[-1]["alignment"]) < 0.7 * float(rows[0]["alignment"])
    checkpoint = load_full(folder / "checkpoints" / "iter_000000040", "model.")
    assert checkpoint["alignment.layers.4.weight"].shape == (16, 32)
    exported = torch.load(folder / "checkpoints" / "iter_000000040_ema_model.pt", weights_only=True)
    assert {f"net.{name}" for name in checkpoint if not name.startswith("alignment.")} == set(exported)
    with pytest.raises(UserError, match=r"no features of a lidar backbone in the data.*encode-views --alignment"):
        lidargen.FAMILY.choose(["recipe=debug", *words, few[1]])
    for option in ("parallel.context=2", "model.lora.rank=4"):
        with pytest.raises(UserError, match="parallel.context=1 parallel.compile=false model.lora.rank=0"):
            some_run(tmp_path, "x", *words, option).check()
    with pytest.raises(UserError, match="data.path of `encode-views --alignment`"):
        some_run(tmp_path, "x", *words[:3]).check()
