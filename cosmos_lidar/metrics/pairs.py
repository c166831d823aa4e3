"""Samples that metrics compare: a range map with its reconstruction, and images with theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch

    Array = np.ndarray | torch.Tensor


@dataclass(frozen=True)
class RangePair:
    """A range map, or a batch of them, as measured and as decoded or generated.

    Attributes:
        recorded_m: (...) meters as measured, 0 = no return, not clipped.
        made_m: same shape, meters; of a tokenizer as decoded, before pixels are set to "no return".
        valid: same shape, bool: only these pixels are compared; None for all.
        returns: same shape, bool: pixels decoded as returns; None: those whose made range is inside the limits.
        points: () -> recorded and made points, (N, 3) and (M, 3) meters in the sensor frame; None where point clouds
            are left out.
    """

    recorded_m: Array
    made_m: Array
    valid: Array | None = None
    points: Callable[[], tuple[np.ndarray, np.ndarray]] | None = None
    returns: Array | None = None


@dataclass(frozen=True)
class ImagePair:
    """Images and their reconstructions.

    Attributes:
        recorded: (B, 3, H, W) in [-1, 1].
        made: of the same shape.
        frames: images per sample: those of a clip follow each other, and count as one sample.
    """

    recorded: torch.Tensor
    made: torch.Tensor
    frames: int = 1
