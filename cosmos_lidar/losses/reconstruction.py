"""Pixel-wise reconstruction losses: L1, and the negative log-likelihood of a Laplace distribution."""

from __future__ import annotations

import math

from torch import Tensor

from cosmos_lidar.errors import DataError


def l1(reconstruction: Tensor, image: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the L1 loss, a scalar.

    Args:
        reconstruction: (B, C, H, W).
        image: (B, C, H, W).
        mask: (B, 1, H, W); only pixels where it is set count; 0 for an empty mask.

    Raises:
        DataError: shapes that differ; torch would broadcast some of them silently.
    """
    check_shapes(reconstruction, image, mask)
    difference = (reconstruction - image).abs()
    if mask is None:
        return difference.mean()
    mask = mask.to(difference.dtype)
    return (difference * mask).sum() / (mask.sum() * difference.shape[1]).clamp(min=1.0)


def laplace_nll(difference: Tensor, log_scale: Tensor, mask: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of differences under Laplace distributions, log(2 b) + |d| / b, a scalar.

    Its minimum is at b = E|d|: a network that predicts log b by it predicts its own expected absolute error.

    Args:
        difference: (B, 1, H, W), d.
        log_scale: of the same shape, log b.
        mask: of the same shape, bool; only pixels where it is set count; 0 for an empty mask.

    Raises:
        DataError: shapes that differ.
    """
    check_shapes(difference, log_scale, mask)
    mask = mask.to(difference.dtype)
    nll = log_scale + math.log(2.0) + difference.abs() * (-log_scale).exp()
    return (nll * mask).sum() / mask.sum().clamp(min=1.0)


def check_shapes(reconstruction: Tensor, image: Tensor, mask: Tensor | None) -> None:
    """Check that images and mask have matching shapes.

    Args:
        reconstruction: (B, C, H, W).
        image: (B, C, H, W).
        mask: (B, 1, H, W) or None.

    Raises:
        DataError: other shapes.
    """
    if reconstruction.shape != image.shape or image.ndim != 4:
        shapes = f"{tuple(reconstruction.shape)} and {tuple(image.shape)}"
        raise DataError(f"images of {shapes}", wanted="two of the same shape (B, C, H, W)")
    shape = (len(image), 1, *image.shape[2:])
    if mask is not None and mask.shape != shape:
        raise DataError(f"mask of {tuple(mask.shape)} for images of {tuple(image.shape)}", wanted=f"{shape}")
