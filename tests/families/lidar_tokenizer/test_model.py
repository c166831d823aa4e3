from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.lidar_tokenizer.job import make_dry_model
from cosmos_lidar.recipes import lidar_tokenizer
from cosmos_lidar.training.batches import ExampleBatch
from cosmos_lidar.training.overrides import apply_overrides

VALIDITY = ["model.coding=validity", "model.scale=true", "model.channels_mult=[1]", "model.patch_size=8"]
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


def _ranges(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    value, valid = torch.rand(2, 1, 64, 32, generator=rng) * 1.8 - 0.9, torch.rand(2, 1, 64, 32, generator=rng) > 0.3
    return torch.where(valid, value, -1.0).expand(-1, 3, -1, -1).contiguous(), valid


def test_losses_of_the_coding_with_validity() -> None:
    model = make_dry_model(apply_overrides(lidar_tokenizer.debug(), [*VALIDITY, "model.loss.scale=0.5"]))
    images, valid = _ranges(0)
    made = model(images)
    assert made.shape == images.shape
    found = model.losses(made, images, valid)
    assert model.columns == ("loss", "color", "validity", "scale")
    error, log_scale = (made[:, :1] - images[:, :1])[valid].abs(), made[:, 2:][valid]
    color = error.mean()
    validity = F.softplus(torch.where(valid, -made[:, 1:2], made[:, 1:2])).mean()
    scale = (log_scale + torch.log(torch.tensor(2.0)) + error * torch.exp(-log_scale)).mean()
    assert found["color"].item() == pytest.approx(color.item(), rel=1e-5)
    assert found["validity"].item() == pytest.approx(validity.item(), rel=1e-4)
    assert found["scale"].item() == pytest.approx(scale.item(), rel=1e-4)
    assert found["loss"].item() == pytest.approx((color + 0.1 * validity + 0.5 * scale).item(), rel=1e-4)


def test_the_expected_error_does_not_move_ranges() -> None:
    model = make_dry_model(apply_overrides(lidar_tokenizer.debug(), VALIDITY))
    images, valid = _ranges(1)
    made = model(images).detach().requires_grad_()
    model.losses(made, images, valid)["scale"].backward()
    assert made.grad is not None
    assert made.grad[:, :2].abs().max() == 0 < made.grad[:, 2:].abs().max()


def test_validation_compares_ranges_with_a_return_and_published_images() -> None:
    model = make_dry_model(apply_overrides(lidar_tokenizer.debug(), VALIDITY))
    images, valid = _ranges(2)
    with torch.no_grad():
        made = model(images)
        values = model.pool_validation([model.validation_step(ExampleBatch(2, images=images, valid=valid), 0)])
    meters = 47.5 * (made[:, 0].clamp(-1, 1) - images[:, 0])[:, 2::4]
    assert values["val/mae_m"] == pytest.approx(meters[valid[:, 0, 2::4]].abs().mean().item(), rel=1e-3)
    assert set(model.val_columns) == set(values)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["parallel.context=2"], "parallel.context=2 with the coding validity"),
        (["model.loss.perceptual=0.1", "model.loss.perceptual_weights=none.pt"], "perceptual=0.1 compares images"),
        (["trainer.accumulate=2"], "trainer.accumulate=2 with the coding validity; valid: 1"),
    ],
)
def test_what_the_coding_does_not_have(options: list[str], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        make_dry_model(apply_overrides(lidar_tokenizer.debug(), [*VALIDITY, *options]))


def test_a_scale_needs_the_coding() -> None:
    with pytest.raises(UserError, match="model.coding=auto with model.scale=true; valid: validity"):
        apply_overrides(lidar_tokenizer.debug(), ["model.scale=true"]).check()
