"""Sizes of images for video networks, and the lenses of what comes out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cosmos_lidar.clips.fit_images import covering_size, fit_frames, fit_lens
from cosmos_lidar.sensors.ftheta import FThetaCamera
from cosmos_lidar.sensors.pinhole import PinholeCamera


def test_half_the_size_is_the_antialiased_mean():
    image = np.random.default_rng(0).integers(0, 256, (2, 8, 12, 3), dtype=np.uint8)
    small = fit_frames(image, (4, 6), "stretch")
    assert small.shape == (3, 2, 4, 6)
    # a triangle of width 4 around each new pixel: weights 1 3 3 1 of 8
    weights = np.array([1, 3, 3, 1]) / 8
    x = image[0, 1:5, 3:7].astype(np.float64)  # around the new pixel (1, 2)
    wanted = np.einsum("i,j,ijc->c", weights, weights, x)
    assert np.abs(small[:, 0, 1, 2].numpy() - np.floor(wanted)).max() <= 1


def test_the_same_size_is_the_same_image():
    image = np.random.default_rng(1).integers(0, 256, (1, 6, 8, 3), dtype=np.uint8)
    assert torch.equal(fit_frames(image, (6, 8), "cover"), torch.from_numpy(image).permute(3, 0, 1, 2))


def test_stretching_changes_the_aspect_and_covering_cuts():
    image = np.zeros((1, 40, 40, 3), np.uint8)
    image[:, :, 20:] = 200
    assert fit_frames(image, (20, 40), "stretch")[0, 0, :, 30].float().mean() == 200
    image[:, 20:] = 100
    cut = fit_frames(image, (20, 40), "cover")[0, 0].float()
    assert cut.shape == (20, 40)
    assert cut[:9, 25:].mean() == 200  # rows 10 to 29 are left: the border of row 20 in the middle
    assert cut[11:].mean() == 100
    assert covering_size((1280, 1920), (704, 1280)) == (853, 1280)


@pytest.mark.parametrize("fit", ["stretch", "cover"])
@pytest.mark.parametrize(
    "lens",
    [
        PinholeCamera(100.0, 101.0, 47.0, 30.5, 96, 64),
        FThetaCamera(47.0, 30.5, 96, 64, (0.0, 80.0, 1.0, 0.5), False),
    ],
)
def test_a_lens_sees_a_point_where_the_scaled_image_has_it(lens: PinholeCamera | FThetaCamera, fit: str):
    point = np.array([[0.2, -0.1, 1.0]])
    uv = lens.project(point)[0][0]
    scaled = fit_lens(lens, (20, 48), fit)
    covering = (20, 48) if fit == "stretch" else (32, 48)
    a, b = covering[1] / 96, covering[0] / 64
    wanted = ((uv[0] + 0.5) * a - 0.5, (uv[1] + 0.5) * b - 0.5 - (covering[0] - 20) // 2)
    assert np.allclose(scaled.project(point)[0][0], wanted, atol=1e-3)
    assert (scaled.height, scaled.width) == (20, 48)
