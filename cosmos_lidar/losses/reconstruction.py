"""Distance of pictures, pixel by pixel."""

from __future__ import annotations

from torch import Tensor


def l1(reconstruction: Tensor, picture: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean absolute difference, a scalar.

    Args:
        reconstruction: (B, C, H, W).
        picture: (B, C, H, W).
        mask: (B, 1, H, W); only pixels where it is set count, and a mask of nothing gives 0.
    """
    difference = (reconstruction - picture).abs()
    if mask is None:
        return difference.mean()
    mask = mask.to(difference.dtype)
    return (difference * mask).sum() / (mask.sum() * difference.shape[1]).clamp(min=1.0)
