"""Recipes of ALSO pre-training: the published configurations by their names, and their numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.also.epochs import epoch_facts
from cosmos_lidar.losses.bev_contrast import BevGrid
from cosmos_lidar.recipes.also_pretrain import FAMILY, RECIPES

# backbone, inputs, voxel size, decimation, points, queries, batch size, epochs
PUBLISHED = {
    "nuscenes": ("MinkUNet34", 1, 0.1, 0.1, 16384, 2048, 16, 200),
    "semantickitti": ("MinkUNet18SC", 4, 0.05, 0.05, 80000, 4096, 4, 50),
    "kitti3d_second": ("SECOND", 4, [0.05, 0.05, 0.1], 0.05, 80000, 4096, 8, 500),
    "nuscenes_second_kitti": ("SECOND", 4, [0.05, 0.05, 0.1], 0.05, 80000, 4096, 8, 100),
    "kitti360_second": ("SECOND", 4, [0.05, 0.05, 0.1], 0.05, 80000, 4096, 8, 75),
    "once_raw_small_second": ("SECOND", 4, [0.1, 0.1, 0.2], 0.05, 80000, 4096, 8, 40),
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_variant_can_be_checked(name: str) -> None:
    run, _ = FAMILY.choose([f"cfg={name}", "data.path=shards"])
    FAMILY.check(run)
    assert run.recipe == run.log.name == name


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_configurations(name: str) -> None:
    run, _ = FAMILY.choose([f"cfg={name}"], look_at_data=False)
    model, data = run.model, run.data
    found = (model.backbone, model.channels, model.voxel_size, data.decimation, data.points, data.queries)
    assert (*found, data.batch_size, data.epochs) == PUBLISHED[name]
    assert (model.radius, model.most_neighbors, model.latent_size, data.query_distance) == (1.0, 32, 128, 0.1)
    assert (run.optim.lr, run.optim.betas, run.optim.eps, run.optim.weight_decay) == (1e-3, [0.9, 0.999], 1e-8, 0.01)
    assert (run.optim.warmup_steps, run.optim.decay_until, run.optim.clip_norm) == (0, 0, 0.0)
    assert (data.rotation, data.flip, data.val_interval, run.trainer.precision) == (True, True, 5, "fp32")
    assert data.intensity_scale == (255.0 if name.startswith(("nuscenes", "once")) else 1.0)
    if model.on_grid:
        assert model.grid == ((1504, 1504, 40) if "once" in name else (1408, 1600, 40))


def test_the_published_contrasts() -> None:
    for name, gap, stride, cells, batch in (("nuscenes", 2, 6, 170, 24), ("semantickitti", 7, 4, 512, 10)):
        run, _ = FAMILY.choose([f"cfg=bevcontrast_{name}"], look_at_data=False)
        contrast = run.model.contrast
        assert (contrast.gap, contrast.stride, contrast.temperature, contrast.most_cells) == (gap, stride, 0.07, 4096)
        assert BevGrid(contrast.half_extent, run.model.voxel_sizes[0], stride).cells == cells
        assert (run.data.batch_size, run.data.epochs, contrast.weight, run.model.loss.occupancy) == (batch, 50, 1, 0)
        steps = epoch_facts(run, 50, 5, 1000 * batch, Path("shards"), run.data.warmup_epochs)
        facts = {key: fact.value for key, fact in steps.items() if key.startswith("optim.")}
        assert facts == {"optim.warmup_steps": 2500, "optim.decay_until": 50_000}
        assert (run.optim.lr, run.optim.weight_decay, run.optim.decay_to) == (1e-3, 1e-3, 0.01)


def test_published_option_names() -> None:
    options = ["cfg=semantickitti", "cfg.network.backbone=SPVCNN", "cfg.training.batch_size=8", "cfg.dataset_root=d"]
    options += ["cfg.training.max_epochs=3", "cfg.non_manifold_points=99", "cfg.transforms.voxel_decimation=null"]
    run, _ = FAMILY.choose(options, look_at_data=False)
    assert (run.model.backbone, run.model.name, run.data.batch_size) == ("SPVCNN", "spvcnn", 8)
    assert (run.data.path, run.data.epochs, run.data.queries, run.data.decimation) == ("d", 3, 99, None)
    assert run.model.inputs == ["pos", "intensities"]


def test_an_unknown_configuration_is_named() -> None:
    with pytest.raises(UserError, match="valid: nuscenes, semantickitti, kitti3d_second"):
        FAMILY.choose(["cfg=waymo"])
