"""What both models of sparse backbones have in common; several ranks: test_job.py and semseg/test_job.py."""

from __future__ import annotations

import pytest

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

from cosmos_lidar.families.also import job
from cosmos_lidar.families.also.semseg import job as semseg
from cosmos_lidar.recipes import also_pretrain, also_semseg
from cosmos_lidar.training.overrides import apply_overrides


def test_voxels_are_counted_and_a_single_rank_has_the_whole_mean() -> None:
    for make, run in ((job, also_pretrain.debug()), (semseg, also_semseg.debug())):
        model = make.make_dry_model(run)
        batch = model.example_batch(2)
        assert (model.item_name, model.items_of(batch)) == ("voxels", len(batch.coords.values))
        assert (model.share_of(7), model.share_of(0)) == (1.0, 1.0)


def test_linear_probing_leaves_batch_norm_as_it_is() -> None:
    run = also_semseg.debug()
    assert semseg.make_dry_model(run).trains_batch_norm
    probing = apply_overrides(run, ["model.linear_probing=true"])
    assert not semseg.make_dry_model(probing).trains_batch_norm
