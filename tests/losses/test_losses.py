"""Losses against the published numbers; no weights are ever made up."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.losses.perceptual import PerceptualLoss, load_perceptual
from cosmos_lidar.losses.reconstruction import l1
from cosmos_lidar.losses.schedule import piecewise_constant

VECTORS = np.load(Path(__file__).parents[1] / "vectors" / "image_tokenizer.npz")
WIDTHS = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256),
          17: (256, 512), 19: (512, 512), 21: (512, 512), 24: (512, 512), 26: (512, 512), 28: (512, 512)}  # fmt: skip


def hashed(shape: tuple[int, ...], name: str) -> torch.Tensor:
    """Values in [-1, 1) from a 32-bit hash of (position, name), float64."""
    x = np.arange(np.prod(shape), dtype=np.uint32) * np.uint32(2654435761) + np.uint32(zlib.crc32(name.encode()))
    for shift, factor in ((16, 2246822519), (13, 3266489917)):
        x = (x ^ (x >> shift)) * np.uint32(factor)
    x ^= x >> 16
    return torch.from_numpy(x / 2**31 - 1).view(shape)


def vgg_weights() -> dict[str, torch.Tensor]:
    """A torchvision-style state dict, classifier included, with the deterministic fill of the reference numbers."""
    state = {"classifier.0.weight": torch.zeros(1)}
    for index, (inputs, outputs) in WIDTHS.items():
        weight, bias = f"features.{index}.weight", f"features.{index}.bias"
        state[weight] = (hashed((outputs, inputs, 3, 3), weight) * (6 / (9 * inputs)) ** 0.5).float()
        state[bias] = (0.02 * hashed((outputs,), bias)).float()
    return state


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(vgg_weights(), path)
    return path


@pytest.fixture(scope="module")
def perceptual(weights_file: Path) -> PerceptualLoss:
    return load_perceptual(weights_file)


def frames() -> tuple[torch.Tensor, torch.Tensor]:
    """Two clips of 3 frames, time folded into the batch: (3, 3, 32, 32)."""
    return tuple(torch.from_numpy(VECTORS[f"loss/{name}"])[0].transpose(0, 1).contiguous() for name in "xy")


def test_colour():
    x, y = frames()
    assert l1(y, x).item() == pytest.approx(0.0930817, abs=1e-6)


def test_colour_of_marked_pixels_only():
    x = torch.zeros(1, 3, 2, 2)
    y = torch.tensor([[1.0, 5.0], [2.0, 7.0]]).expand(1, 3, 2, 2)
    mask = torch.tensor([[[[True, False], [True, False]]]])
    assert l1(y, x, mask).item() == pytest.approx(1.5)
    assert l1(y, x, torch.ones(1, 1, 2, 2, dtype=torch.bool)).item() == pytest.approx(l1(y, x).item())
    assert l1(y, x, torch.zeros(1, 1, 2, 2, dtype=torch.bool)).item() == 0.0


@pytest.mark.parametrize(
    ("y", "mask", "message"),
    [
        ((2, 3, 8, 1), None, "pictures of (2, 3, 8, 1) and (2, 3, 8, 8)"),
        ((2, 1, 8, 8), None, "pictures of (2, 1, 8, 8) and (2, 3, 8, 8)"),
        ((2, 3, 8, 8), (2, 8, 8), "mask of (2, 8, 8) for pictures of (2, 3, 8, 8) Wanted: (2, 1, 8, 8)"),
        ((2, 3, 8, 8), (2, 3, 8, 8), "mask of (2, 3, 8, 8) for pictures"),
        ((2, 3, 8, 8), (1, 1, 8, 8), "mask of (1, 1, 8, 8) for pictures"),
    ],
)
def test_shapes_that_would_be_stretched_are_refused(y: tuple[int, ...], mask: tuple[int, ...] | None, message: str):
    given = None if mask is None else torch.ones(mask)
    with pytest.raises(DataError, match=re.escape(message)):
        l1(torch.zeros(y), torch.zeros(2, 3, 8, 8), given)


def test_perceptual_distance_of_frames(perceptual: PerceptualLoss):
    x, y = frames()
    with torch.no_grad():
        distance = perceptual(y, x)
    assert (0.1 * distance).tolist() == pytest.approx([0.0188558, 0.0321903, 0.0202754], abs=2e-7)
    assert 0.073 * distance.mean().item() == pytest.approx(0.0173549, abs=2e-7)


def test_features(perceptual: PerceptualLoss):
    x, _ = frames()
    with torch.no_grad():
        means = [features.mean().item() for features in perceptual.vgg(x)]
    assert means == pytest.approx([0.423167, 0.488459, 0.454217, 0.390336, 0.182720], abs=1e-6)
    scaled_zero = -perceptual.vgg.shift / perceptual.vgg.scale
    assert scaled_zero.flatten().tolist() == pytest.approx([0.0655022, 0.1964286, 0.4177778], abs=1e-7)


def test_gram_of_a_whole_clip(perceptual: PerceptualLoss):
    x, y = frames()
    with torch.no_grad():
        assert 0.062 * perceptual.gram(y, x, frames=3).item() == pytest.approx(0.000371336, abs=2e-9)
        assert perceptual.gram(y, x).shape == (3,)


def test_masked_features_count_as_equal(perceptual: PerceptualLoss):
    x, y = frames()
    with torch.no_grad():
        everything, nothing = (perceptual(y, x, torch.full((3, 1, 32, 32), value)) for value in (1.0, 0.0))
        half = torch.ones(3, 1, 32, 32, dtype=torch.bool)
        half[..., 16:] = False
        part = perceptual(y, x, half)
        assert torch.allclose(everything, perceptual(y, x))
    assert nothing.tolist() == [0.0] * 3
    assert ((part > 0) & (part < everything)).all()


def test_gradients_reach_the_reconstruction_only(perceptual: PerceptualLoss):
    x, y = frames()
    y.requires_grad_()
    perceptual.train()(y[:1], x[:1]).sum().backward()
    assert y.grad[0].abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in perceptual.parameters())


def test_weights_from_safetensors(perceptual: PerceptualLoss, tmp_path: Path):
    save_file(vgg_weights(), tmp_path / "vgg.safetensors")
    loaded = load_perceptual(tmp_path / "vgg.safetensors").state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in perceptual.state_dict().items())


def refused(path: Path, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message) + f".*{path.name}.*features.0.weight … features.28.bias"):
        load_perceptual(path)


def test_absent_or_wrong_weights_are_named(weights_file: Path, tmp_path: Path):
    refused(tmp_path / "absent.pth", "no such file")
    (tmp_path / "text.pth").write_text("not weights")
    refused(tmp_path / "text.pth", "not a file of weights")
    (tmp_path / "half.pth").write_bytes(weights_file.read_bytes()[:10_000])
    refused(tmp_path / "half.pth", "not a file of weights")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    refused(tmp_path / "list.pth", "holds a list")
    state = vgg_weights()
    torch.save({k: v for k, v in state.items() if k != "features.28.bias"}, tmp_path / "less.pth")
    refused(tmp_path / "less.pth", "missing features.28.bias")
    torch.save(state | {"features.0.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / "grey.pth")
    refused(tmp_path / "grey.pth", "features.0.weight is (64, 1, 3, 3), not (64, 3, 3, 3)")
    torch.save(state | {"features.2.bias": torch.full((64,), float("inf"))}, tmp_path / "inf.pth")
    refused(tmp_path / "inf.pth", "weights that are not finite")


def test_pictures_too_small_for_the_network_are_refused(perceptual: PerceptualLoss):
    with pytest.raises(DataError, match=r"pictures of 8 x 64.*at least 16 x 16"):
        perceptual(torch.zeros(1, 3, 8, 64), torch.zeros(1, 3, 8, 64))


def test_pictures_that_do_not_fit_the_network_are_refused(perceptual: PerceptualLoss):
    with pytest.raises(DataError, match=r"pictures of \(1, 1, 32, 32\).*\(B, 3, H, W\)"):
        perceptual(torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32))
    with pytest.raises(DataError, match=r"mask of \(1, 32, 32\)"):
        perceptual(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32), torch.zeros(1, 32, 32))
    with pytest.raises(DataError, match="3 pictures for clips of 2"):
        perceptual.gram(*frames(), frames=2)


@pytest.mark.parametrize(("step", "value"), [(0, 0.0), (249_999, 0.0), (250_000, 0.01), (10**9, 0.01)])
def test_weights_change_at_their_step(step: int, value: float):
    assert piecewise_constant(step, [250_000], [0.0, 0.01]) == value


def test_several_boundaries_and_the_published_default():
    assert [piecewise_constant(step, [2, 5], [1.0, 2.0, 3.0]) for step in range(7)] == [1, 1, 2, 2, 2, 3, 3]
    assert piecewise_constant(0, [0], [9.0, 1.0]) == 1.0


def test_a_schedule_needs_one_more_value():
    with pytest.raises(UserError, match="2 values for 2 boundaries: one more value is needed"):
        piecewise_constant(0, [1, 2], [0.0, 1.0])
    with pytest.raises(UserError, match=r"boundaries \[5, 2\]: they must rise"):
        piecewise_constant(0, [5, 2], [0.0, 1.0, 2.0])
