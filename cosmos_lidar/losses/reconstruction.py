"""Pixel-wise reconstruction loss (L1)."""

from __future__ import annotations

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
