"""Training camera-to-lidar diffusion: the loss by the formula, exact resume, published files, and what cannot work."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("nemo")

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.dit.job import make_network
from cosmos_lidar.families.lidargen.config import LidarGenTrainConfig
from cosmos_lidar.families.lidargen.job import make_dry_model
from cosmos_lidar.training.checkpoint.reading import load_full
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.run_log import read_metrics
from recipes import lidargen
from tests.workers.client import torchrun

ROOT = Path(__file__).resolve().parents[3]
FEW = ["log.tensorboard=false", "trainer.val_every=0", "trainer.save_every=0"]


def some_run(root: Path, name: str, *options: str) -> LidarGenTrainConfig:
    return apply_overrides(lidargen.debug(), [*FEW, f"log.root={root}", f"log.name={name}", *options])


def losses(folder: Path) -> list[tuple[str, str, str]]:
    return [(r["step"], r["loss"], r["mse"]) for r in read_metrics(folder / "metrics.csv") if r["loss"]]


def test_the_loss_is_that_of_the_made_slot_over_the_whole_canvas(tmp_path: Path) -> None:
    model = make_dry_model(some_run(tmp_path, "x"))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.05)
    batch = model.example_batch(2)
    batch.latents = torch.randn(2, 16, 3, 8, 16)
    batch.noise_seeds = [3, 9]
    values = model.step(batch)
    error = []
    for number, seed in enumerate((3, 9)):
        sigma, noise = model._draw(seed, batch.latents.shape[1:])
        level, condition = model._condition_noise([seed], batch.latents.shape[1:])
        z0 = batch.latents[number : number + 1]
        seen = z0 + level * condition  # of the pictures
        c_in, c_skip = (sigma**2 + 0.25) ** -0.5, 0.25 / (sigma**2 + 0.25)
        x = torch.cat([c_in * (z0 + sigma * noise)[:, :, :1], (level**2 + 0.25) ** -0.5 * seen[:, :, 1:]], dim=2)
        mask = torch.tensor([0.0, 1.0, 1.0]).view(1, 1, 3, 1, 1).expand(1, 1, 3, 8, 16)
        raw = model.network(x, 0.25 * sigma.log(), None, mask)
        x0 = c_skip * (z0 + sigma * noise) + 0.5 * sigma * c_in * raw
        weight = (sigma**2 + 0.25) / (0.5 * sigma) ** 2
        error.append(float(weight * (x0 - z0)[:, :, 0].square().sum() / z0.numel()))
    assert values["loss"].item() == pytest.approx(sum(error) / 2, rel=1e-4)


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model.canvas.views=3"], r"model.n_views=3: 3 cameras and the range map make 4"),
        (["model.canvas.lidar=[8,20]"], r"the canvas of model.canvas is \[16, 3, 8, 20\]"),
        (["model.canvas.image=[8]"], r"two sizes each"),
        (["data.text_shape=[8,64]"], r"camera-to-lidar diffusion takes no text"),
        (["synthetic_clips=0"], "data.path is empty"),
    ],
)
def test_what_cannot_work_is_refused(options: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        some_run(tmp_path, "x", *options).check()


def test_the_published_settings() -> None:
    run = lidargen.text2world_imagetolidar()
    apply_overrides(run, ["data.path=x"]).check()
    assert run.optim.lr == pytest.approx(4.957e-5, rel=1e-3)
    assert (run.optim.weight_decay, run.optim.eps, run.optim.betas) == (0.1, 1e-10, [0.9, 0.99])
    assert run.data.latent_shape == [16, 4, 88, 224]
