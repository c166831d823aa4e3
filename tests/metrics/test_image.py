"""PSNR and SSIM of images against the published numbers and against their definitions, written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.metrics.image import psnr, psnr_of_error, squared_error, ssim

VECTORS = np.load(Path(__file__).parents[1] / "vectors" / "image_tokenizer.npz")


def frames() -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.from_numpy(VECTORS[f"loss/{name}"])[0].transpose(0, 1).contiguous() for name in "xy")


def test_psnr_of_frames():
    x, y = frames()
    assert psnr(y, x).tolist() == pytest.approx([29.03708, 21.78160, 28.40588], abs=1e-4)


def test_ssim_of_frames():
    x, y = frames()
    assert ssim(y, x).tolist() == pytest.approx([0.9827903, 0.9524709, 0.9761077], abs=1e-6)


def levels(values: torch.Tensor) -> torch.Tensor:
    """Images (1, 1, H, W) in [-1, 1] that map to these 8-bit levels."""
    return (values.float() / 255 * 2 - 1)[None, None]


def test_psnr_by_hand():
    x, y = levels(torch.full((8, 8), 100)), levels(torch.full((8, 8), 110))
    assert psnr(y, x).item() == pytest.approx(10 * np.log10(255**2 / 100), abs=1e-5)
    assert psnr(x, x).item() == pytest.approx(10 * np.log10(255**2 / 1.19e-7), abs=1e-3)


def test_values_outside_are_clamped_and_do_not_wrap():
    white, beyond = torch.full((1, 3, 8, 8), 1.0), torch.full((1, 3, 8, 8), 1.3)
    assert psnr(beyond, white).item() > 100
    assert psnr(-beyond, -white).item() > 100
    assert ssim(beyond, white).item() == pytest.approx(1.0)


def test_ssim_by_definition():
    """The formula of the 2004 paper, window by window."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 9, 10)).astype(np.float64)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for row in range(3):
        for column in range(4):
            x, y = (image[row : row + 7, column : column + 7].ravel() for image in (a, b))
            covariance = np.cov(x, y)
            above = (2 * x.mean() * y.mean() + c1) * (2 * covariance[0, 1] + c2)
            values.append(above / ((x.mean() ** 2 + y.mean() ** 2 + c1) * (covariance[0, 0] + covariance[1, 1] + c2)))
    ours = ssim(levels(torch.from_numpy(a)), levels(torch.from_numpy(b))).item()
    assert ours == pytest.approx(np.mean(values), abs=1e-6)


def test_ssim_is_symmetric_one_for_equals_and_falls_with_noise():
    torch.manual_seed(0)
    x = frames()[0]
    noisy = [ssim(x + strength * torch.randn_like(x), x).mean().item() for strength in (0.02, 0.1, 0.4)]
    assert ssim(x, x).tolist() == [1.0] * 3
    assert 1 > noisy[0] > noisy[1] > noisy[2] > 0
    assert torch.allclose(ssim(*frames()), ssim(*reversed(frames())))


def test_images_that_do_not_match_or_are_too_small_are_refused():
    with pytest.raises(DataError, match=r"images of \(1, 3, 8, 8\) and \(1, 3, 8, 16\)"):
        psnr(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 16))
    with pytest.raises(DataError, match=r"images of 6 x 8.*at least 7 x 7"):
        ssim(torch.zeros(1, 3, 6, 8), torch.zeros(1, 3, 6, 8))


VECTORS = np.load(Path(__file__).parents[1] / "vectors" / "image_tokenizer.npz")


def test_psnr_of_a_clip_is_of_the_pooled_error_not_a_mean_of_frames():
    x, y = (torch.from_numpy(VECTORS[f"loss/{name}"]) for name in "xy")
    per_frame = torch.tensor([29.03708, 21.78160, 28.40588], dtype=torch.float64)  # published vector
    pooled = -10 * torch.log10((10 ** (-per_frame / 10)).mean())
    frames, made = x[0].transpose(0, 1), y[0].transpose(0, 1)
    found = psnr_of_error(squared_error(made, frames).mean())
    assert found.item() == pytest.approx(pooled.item(), abs=1e-4)
    assert found < psnr(made, frames).mean()
