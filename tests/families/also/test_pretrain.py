"""Loss and validation of a batch by independent formulas; a loss that falls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("nemo")

from cosmos_lidar.families.also.config import AlsoTrainConfig, ContrastConfig, OccupancyConfig
from cosmos_lidar.families.also.pretrain import PretrainModel
from cosmos_lidar.losses.bev_contrast import BevGrid, bev_contrast_loss, bev_means
from tests.families.also.clouds import DATA, GRID, MINK, batch_of, cloud
from tests.families.also.test_network import network_of


def model_of(config: object) -> PretrainModel:
    run = AlsoTrainConfig(model=config, data=DATA, synthetic_drives=1)
    return PretrainModel(run, network_of(config), Path())


def test_losses_are_means_over_pairs() -> None:
    """Published: every neighbor of a query has a prediction of its own; far queries have no intensity."""
    model = model_of(replace(MINK, loss=OccupancyConfig(occupancy=2.0, intensity=0.5)))
    batch = batch_of([cloud(0), cloud(1)])
    with torch.no_grad():
        values, pairs = model.network(**model.inputs(batch))[:2]
        found = model.step(batch)
    truth = batch.occupied.values[pairs.queries].float()
    wanted = batch.intensities.values[pairs.queries, 0]
    occupancy = F.binary_cross_entropy(values[:, 0].sigmoid(), truth)
    intensity = np.mean([abs(float(v - w)) for v, w in zip(values[:, 1], wanted, strict=True) if w >= 0])
    assert float(found["occupancy"]) == pytest.approx(float(occupancy), rel=1e-5)
    assert float(found["intensity"]) == pytest.approx(float(intensity), rel=1e-5)
    assert float(found["loss"]) == pytest.approx(float(2 * occupancy + 0.5 * intensity), rel=1e-5)
    assert model.items_of(batch) == len(batch.voxels)


@torch.no_grad()
def test_validation_is_pooled_over_pairs() -> None:
    """Two batches of unlike size are one batch of both; the IoU is the mean of those of occupied and free pairs."""
    model, clouds = model_of(MINK), [cloud(seed) for seed in range(3)]
    parts = [model.validation_step(batch_of(part), 0) for part in (clouds[:1], clouds[1:])]
    pooled = model.pool_validation(parts)
    whole = batch_of(clouds)
    together = model.step(whole)
    assert tuple(pooled) == model.val_columns
    for name, value in together.items():
        assert pooled[f"val/{name}"] == pytest.approx(float(value), rel=1e-4)
    values, pairs = model.network(**model.inputs(whole))[:2]
    guess, truth = values[:, 0] > 0, whole.occupied.values[pairs.queries] == 1
    ious = [
        float((guess & truth).sum() / (guess | truth).sum()),
        float((~guess & ~truth).sum() / (~guess | ~truth).sum()),
    ]
    assert pooled["val/iou"] == pytest.approx(np.mean(ious), abs=1e-3)


@pytest.mark.parametrize("config", [MINK, GRID], ids=["mink", "second"])
def test_the_loss_of_a_batch_falls(config: object) -> None:
    model, batch = model_of(config).train(), batch_of([cloud(0, config), cloud(1, config)])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(8):
        values = model.step(batch)
        losses.append(float(values["loss"].detach()))
        optimizer.zero_grad()
        values["loss"].backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]
    assert all(parameter.grad is not None for parameter in model.parameters())


@torch.no_grad()
def test_contrast_of_scans_is_a_term_beside_occupancy() -> None:
    model = model_of(replace(MINK, contrast=ContrastConfig(weight=0.5, half_extent=8.0, stride=2)))
    clouds = [cloud(seed, MINK) for seed in (0, 0, 1, 2)]
    batch, seen = batch_of(clouds), []
    found = model.step(batch)
    assert model.columns == ("loss", "occupancy", "intensity", "contrast")
    assert float(found["loss"]) == pytest.approx(
        float(found["occupancy"] + found["intensity"] + 0.5 * found["contrast"]), rel=1e-5
    )
    features, grid = model.network(**model.inputs(batch)).features, BevGrid(8.0, 0.5, 2)
    for number, one in enumerate(clouds):  # maps of one cloud at a time
        own = batch.voxels[:, 0] == number
        coords = torch.nn.functional.pad(one.voxels.coords, (1, 0))
        seen.append(bev_means(coords, features[own], one.lowest[None], grid))
    poses = torch.stack([torch.linalg.inv(batch.poses[i]) @ batch.poses[i + 1] for i in (0, 2)])
    wanted, cells = bev_contrast_loss(torch.cat(seen[::2]), torch.cat(seen[1::2]), poses, grid)
    assert cells > 50
    assert float(found["contrast"]) == pytest.approx(float(wanted), rel=1e-4)
    pooled = model.pool_validation([model.validation_step(batch, 0)])
    assert pooled["val/contrast"] == pytest.approx(float(wanted), rel=1e-4)
    model.step(model.example_batch(2))


def test_contrast_of_second_is_that_of_its_map() -> None:
    """The range of 16 x 32 m has 4 x 8 cells of 4 m; equal scans without a turn: each cell is its own partner."""
    model = model_of(replace(GRID, contrast=ContrastConfig(weight=1.0)))
    clouds = [cloud(seed, GRID) for seed in (3, 3, 4, 4)]
    batch = batch_of(clouds)
    loss = model.step(batch)["contrast"]
    bev = model.network(**model.inputs(batch)).features
    assert bev.shape == (4, GRID.latent_size, 8, 4)
    cells = {tuple(cell) for cell in (batch.voxels[:, [0, 2, 1]] // torch.tensor([1, 8, 8])).tolist()}
    some = sorted(cell for cell in cells if cell[0] % 2 == 0)
    first = torch.stack([bev[scan, :, y, x] for scan, y, x in some])
    second = torch.stack([bev[scan + 1, :, y, x] for scan, y, x in some])
    cosines = torch.nn.functional.cosine_similarity(first[:, None], second[None], dim=-1) / 0.07
    wanted = torch.nn.functional.cross_entropy(cosines, torch.arange(len(some)))
    assert 8 < len(some) < 64
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-3)


def test_queries_without_neighbors_have_a_loss_of_zero() -> None:
    model, batch = model_of(MINK).train(), batch_of([cloud(0)])
    batch.queries.values.add_(1000.0)
    values = model.step(batch)
    assert float(values["loss"].detach()) == 0.0
    values["loss"].backward()
    assert float(model.network.backbone.stem[0].kernel.grad.abs().sum()) == 0.0


def test_an_example_batch_has_the_fields_of_a_real_one() -> None:
    for config in (MINK, GRID):
        model = model_of(config).train()
        example, real = model.example_batch(2), batch_of([cloud(0, config), cloud(1, config)])
        for name, value in vars(real).items():
            other = getattr(example, name)
            assert type(other) is type(value), name
            if hasattr(value, "values"):
                assert (other.values.dtype, other.values.shape[1:]) == (value.values.dtype, value.values.shape[1:]), (
                    name
                )
        assert float(model.step(example)["loss"].detach()) > 0
