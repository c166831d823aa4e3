"""Options of ALSO pre-training: what cannot work together, and epochs as steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.also.config import AlsoTrainConfig
from cosmos_lidar.families.also.epochs import epoch_facts
from cosmos_lidar.recipes.also_pretrain import FAMILY
from cosmos_lidar.training.data_facts import fill_in
from cosmos_lidar.training.overrides import apply_overrides

SECOND = "recipe=kitti3d_second"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model.inputs=[]"], r"model.inputs=\[\]: expected some of intensities, pos, x, each once"),
        (["model.inputs=[pos,pos]"], "each once"),
        (["model.backbone=MinkUNet50"], "valid: MinkUNet34, MinkUNet18, MinkUNet18SC, SPVCNN, SECOND"),
        (["model.voxel_size=0"], "model.voxel_size=0.0: expected more than 0"),
        (["model.radius=0"], "model.radius=0.0: expected more than 0"),
        (["data.queries=2"], "data.queries=2: expected at least 3"),
        (["data.decimation=-1"], "data.decimation=-1.0: expected more than 0"),
        (["model.voxel_size=[0.1,0.1,0.1]"], "MinkUNet34 takes one voxel_size, no extent"),
        (["model.backbone=SECOND"], "SECOND takes a voxel_size of 3 numbers and a spatial_extent of 6"),
        ([SECOND, "model.width=16"], "the layers of SECOND are as published; valid: 32"),
        ([SECOND, "model.spatial_extent=[0,-40,-5,70.4,40,3]"], "1408 x 1600 x 80 voxels .* and 40 along z"),
        (["trainer.precision=bf16"], "valid: fp32"),
        (["model.contrast.weight=1", "model.contrast.half_extent=0.2"], "smaller than a cell"),
        (["parallel.recompute=full"], "valid: parallel.recompute=none"),
        (["data.path="], "give a folder of shards of points"),
    ],
)
def test_what_cannot_work_is_refused(options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FAMILY.check(FAMILY.choose(["data.path=shards", *options], look_at_data=False)[0])


def test_epochs_are_steps_of_the_sweeps_that_there_are() -> None:
    """Published: 200 epochs of batches of 16; a step count that somebody gives is kept."""
    run = AlsoTrainConfig()
    run = replace(run, data=replace(run.data, epochs=200, val_interval=5))
    facts = epoch_facts(run, 200, 5, 1601, Path("shards"))
    filled = fill_in(run, facts, AlsoTrainConfig())
    assert (filled.trainer.max_steps, filled.trainer.val_every) == (200 * 101, 5 * 101)
    chosen = fill_in(apply_overrides(run, ["trainer.max_steps=7"]), facts, AlsoTrainConfig(), {"trainer.max_steps"})
    assert (chosen.trainer.max_steps, chosen.trainer.val_every) == (7, 5 * 101)
    accumulated = apply_overrides(run, ["trainer.global_batch_size=32"])
    assert epoch_facts(accumulated, 200, 5, 1601, Path("shards"))["trainer.max_steps"].value == 200 * 51
    assert AlsoTrainConfig().data_facts() == {}
