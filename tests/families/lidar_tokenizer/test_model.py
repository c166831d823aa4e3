from __future__ import annotations

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.lidar_tokenizer.job import make_dry_model
from cosmos_lidar.recipes import lidar_tokenizer
from cosmos_lidar.training.overrides import apply_overrides

SHAPE = ["model.name=CV4x8x8", "model.channels_mult=[1,2]", "model.resolution=null", "data.sequence=5"]


def test_loss_of_a_sequence_is_that_of_its_frames() -> None:
    model = make_dry_model(apply_overrides(lidar_tokenizer.debug(), SHAPE))
    images, made = torch.rand(2, 3, 5, 16, 32) * 2 - 1, torch.rand(2, 3, 5, 16, 32)
    valid = torch.rand(2, 1, 5, 16, 32) > 0.5
    expected = sum((made[b, :, t] - images[b, :, t]).abs().mean() for b in range(2) for t in range(5)) / 10
    assert model.losses(made, images, valid)["color"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert model.items_per_sample() == 2 * model.size[0] * model.size[1] // 64


def test_masked_losses_are_not_accumulated() -> None:
    options = [*SHAPE, "model.loss.masked=true", "trainer.accumulate=2"]
    with pytest.raises(UserError, match="trainer.accumulate=2 and model.loss.masked=True exclude each other"):
        make_dry_model(apply_overrides(lidar_tokenizer.debug(), options))
