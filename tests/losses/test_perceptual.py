from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cosmos_lidar.errors import DataError
from cosmos_lidar.losses.perceptual import PerceptualLoss, load_perceptual


def clips(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_gram_matrices_against_loops():
    perceptual = PerceptualLoss(TwoChannels())
    made, seen = clips(2, 3, 4, 4), clips(2, 3, 4, 4, seed=1)
    total = 0.0
    for weight, scale in zip((1 / 2.6, 1 / 4.8, 1 / 3.7, 1 / 5.6, 10 / 1.5), (1, 2, 3, 4, 5), strict=True):
        for i in range(2):
            for j in range(2):
                grams = [sum(float(x[f, i, h, w] * x[f, j, h, w]) * scale**2 for f in range(2) for h in range(4)
                             for w in range(4)) / 32 for x in (made, seen)]  # fmt: skip
                total += weight * (grams[0] - grams[1]) ** 2 / 4
    assert perceptual.gram(made, seen, frames=2).item() == pytest.approx(total, rel=1e-4)


class TwoChannels(nn.Module):
    """Stands for VGG: five layers, each the first two channels times 1 … 5."""

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x[:, :2] * scale for scale in (1, 2, 3, 4, 5)]


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
    refused(tmp_path / "text.pth", "not a checkpoint that is safe to read")
    (tmp_path / "half.pth").write_bytes(weights_file.read_bytes()[:10_000])
    refused(tmp_path / "half.pth", "not a checkpoint that is safe to read")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    refused(tmp_path / "list.pth", "holds a list")
    state = vgg_weights()
    torch.save({k: v for k, v in state.items() if k != "features.28.bias"}, tmp_path / "less.pth")
    refused(tmp_path / "less.pth", "missing features.28.bias")
    torch.save(state | {"features.0.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / "gray.pth")
    refused(tmp_path / "gray.pth", "features.0.weight is (64, 1, 3, 3), not (64, 3, 3, 3)")
    torch.save(state | {"features.2.bias": torch.full((64,), float("inf"))}, tmp_path / "inf.pth")
    refused(tmp_path / "inf.pth", "weights that are not finite")


def test_images_too_small_for_the_network_are_refused(perceptual: PerceptualLoss):
    with pytest.raises(DataError, match=r"images of 8 x 64.*at least 16 x 16"):
        perceptual(torch.zeros(1, 3, 8, 64), torch.zeros(1, 3, 8, 64))


def test_images_that_do_not_fit_the_network_are_refused(perceptual: PerceptualLoss):
    with pytest.raises(DataError, match=r"images of \(1, 1, 32, 32\).*\(B, 3, H, W\)"):
        perceptual(torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32))
    with pytest.raises(DataError, match=r"mask of \(1, 32, 32\)"):
        perceptual(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32), torch.zeros(1, 32, 32))
    with pytest.raises(DataError, match="3 images for clips of 2"):
        perceptual.gram(*frames(), frames=2)
