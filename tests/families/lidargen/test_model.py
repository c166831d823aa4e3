from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cosmos_lidar.families.lidargen.config import LidarGenTrainConfig
from cosmos_lidar.families.lidargen.job import make_dry_model
from cosmos_lidar.recipes import lidargen
from cosmos_lidar.training.overrides import apply_overrides

FEW = ["log.tensorboard=false", "trainer.val_every=0", "trainer.save_every=0"]


def some_run(root: Path, name: str, *options: str) -> LidarGenTrainConfig:
    return apply_overrides(lidargen.debug(), [*FEW, f"log.root={root}", f"log.name={name}", *options])


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
        seen = z0 + level * condition  # of the images
        c_in, c_skip = (sigma**2 + 0.25) ** -0.5, 0.25 / (sigma**2 + 0.25)
        x = torch.cat([c_in * (z0 + sigma * noise)[:, :, :1], (level**2 + 0.25) ** -0.5 * seen[:, :, 1:]], dim=2)
        mask = torch.tensor([0.0, 1.0, 1.0]).view(1, 1, 3, 1, 1).expand(1, 1, 3, 8, 16)
        raw = model.network(x, 0.25 * sigma.log(), None, mask)
        x0 = c_skip * (z0 + sigma * noise) + 0.5 * sigma * c_in * raw
        weight = (sigma**2 + 0.25) / (0.5 * sigma) ** 2
        error.append(float(weight * (x0 - z0)[:, :, 0].square().sum() / z0.numel()))
    assert values["loss"].item() == pytest.approx(sum(error) / 2, rel=1e-4)
