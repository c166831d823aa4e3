"""Recipes of semantic segmentation: the published configurations by their names, and their numbers."""

from __future__ import annotations

import pytest

from cosmos_lidar.clips.label_maps import load_label_map
from cosmos_lidar.recipes.also_semseg import FAMILY, RECIPES

# backbone, inputs, voxel size, decimation, points, batch size, classes with the ignored one
PUBLISHED = {
    "nuscenes": ("MinkUNet34", 1, 0.1, 0.1, 16384, 8, 17),
    "semantickitti": ("MinkUNet18SC", 4, 0.05, 0.05, 80000, 2, 20),
    "semanticposs": ("MinkUNet18SC", 4, 0.05, 0.05, 80000, 2, 14),
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_variant_can_be_checked(name: str) -> None:
    run, _ = FAMILY.choose([f"cfg={name}", "data.path=shards"])
    FAMILY.check(run)
    assert run.recipe == run.log.name == name


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_configurations(name: str) -> None:
    run, _ = FAMILY.choose([f"cfg={name}", "cfg.downstream.skip_ratio=100"], look_at_data=False)
    model, data = run.model, run.data
    classes = len(load_label_map(model.label_map).classes)
    found = (model.backbone, model.channels, model.voxel_size, data.decimation, data.points, data.batch_size, classes)
    assert found == PUBLISHED[name]
    assert (run.optim.lr, run.optim.betas, run.optim.eps, run.optim.weight_decay) == (1e-3, [0.9, 0.999], 1e-8, 0.01)
    assert (run.optim.warmup_steps, run.optim.clip_norm, model.anneal, run.trainer.precision) == (0, 0.0, True, "fp32")
    assert (data.rotation, data.flip, data.schedule) == (True, True, (500, 50))
    assert (model.loss.cross_entropy, model.loss.lovasz, model.linear_probing) == (1.0, 0.0, False)
    assert data.intensity_scale == (255.0 if name == "nuscenes" else 1.0)
    assert data.drop_unlabeled == (name != "nuscenes")
