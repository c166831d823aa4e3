"""Image metrics of reconstructions: PSNR and SSIM on 8-bit values, as the published validation computes them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.losses.reconstruction import check_shapes

_WINDOW = 7


def to_uint8_levels(x: Tensor) -> Tensor:
    """Map [-1, 1] to the levels 0 … 255 as floats; values outside are clamped (the published code lets them wrap)."""
    return ((x.float() + 1) / 2 * 255 + 0.5).floor().clamp(0, 255)


def psnr(reconstruction: Tensor, image: Tensor) -> Tensor:
    """Return (B,) peak signal-to-noise ratios in dB of (B, C, H, W) images in [-1, 1].

    Raises:
        DataError: the two have different shapes.
    """
    return psnr_of_error(squared_error(reconstruction, image))


def squared_error(reconstruction: Tensor, image: Tensor) -> Tensor:
    """Return (B,) mean squared errors of (B, C, H, W) images in [-1, 1], in levels of 8 bits.

    Raises:
        DataError: the two have different shapes.
    """
    _check(reconstruction, image, smallest=1)
    return (to_uint8_levels(reconstruction) - to_uint8_levels(image)).square().mean((1, 2, 3))


def psnr_of_error(error: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio in dB of mean squared errors in levels of 8 bits."""
    return 10 * torch.log10(255.0**2 / (error + 1.19e-7))


def ssim(reconstruction: Tensor, image: Tensor) -> Tensor:
    """Return (B,) structural similarities (Wang et al. 2004), of (B, C, H, W) images in [-1, 1].

    Uniform 7 x 7 windows wholly inside the image, sample covariance, constants 0.01 and 0.03, mean over channels.

    Raises:
        DataError: the two have different shapes, or are smaller than a window.
    """
    _check(reconstruction, image, smallest=_WINDOW)
    x, y = to_uint8_levels(reconstruction).double(), to_uint8_levels(image).double()
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    sample = _WINDOW**2 / (_WINDOW**2 - 1)
    var_x = sample * (_window_mean(x * x) - mean_x**2)
    var_y = sample * (_window_mean(y * y) - mean_y**2)
    covariance = sample * (_window_mean(x * y) - mean_x * mean_y)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    below = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return (above / below).mean((1, 2, 3)).float()


def _check(reconstruction: Tensor, image: Tensor, smallest: int) -> None:
    check_shapes(reconstruction, image, None)
    height, width = image.shape[2:]
    if min(height, width) < smallest:
        raise DataError(f"images of {height} x {width}", wanted=f"at least {smallest} x {smallest}")


def _window_mean(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, _WINDOW, stride=1)
