"""Images scaled to the size that a video network takes, and the lenses of what comes out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from cosmos_lidar.sensors.ftheta import FThetaCamera
from cosmos_lidar.sensors.pinhole import PinholeCamera

if TYPE_CHECKING:
    from torch import Tensor

Fit = Literal["stretch", "cover"]
Lens = PinholeCamera | FThetaCamera


def fit_frames(frames: np.ndarray, size: tuple[int, int], fit: Fit) -> Tensor:
    """Return frames (3, T, H, W) uint8 of (T, h, w, 3), scaled as published: bilinear, antialiased, truncated.

    Args:
        frames: RGB.
        size: (H, W).
        fit: ``stretch`` to the size, or ``cover`` it and cut the middle.
    """
    import torch
    import torch.nn.functional as F

    height, width = frames.shape[1:3]
    x = torch.from_numpy(frames).permute(0, 3, 1, 2)
    if (height, width) == size:
        return x.transpose(0, 1).contiguous()
    covering = size if fit == "stretch" else covering_size((height, width), size)
    scaled = F.interpolate(x.float() / 255.0, size=covering, mode="bilinear", antialias=True, align_corners=False)
    top, left = ((have - want) // 2 for have, want in zip(covering, size, strict=True))
    cut = scaled[..., top : top + size[0], left : left + size[1]]
    return (cut * 255.0).clamp(0, 255).to(torch.uint8).transpose(0, 1).contiguous()


def covering_size(have: tuple[int, int], want: tuple[int, int]) -> tuple[int, int]:
    """Return (height, width) of an image scaled in proportion until it covers ``want``."""
    scale = max(want[0] / have[0], want[1] / have[1])
    return max(round(have[0] * scale), want[0]), max(round(have[1] * scale), want[1])


def fit_lens(lens: Lens, size: tuple[int, int], fit: Fit) -> Lens:
    """Return a lens for images that :func:`fit_frames` made."""
    have = (lens.height, lens.width)
    covering = size if fit == "stretch" else covering_size(have, size)
    resized = lens.resized(covering[1], covering[0])
    top, left = ((big - want) // 2 for big, want in zip(covering, size, strict=True))
    return replace(resized, cx=resized.cx - left, cy=resized.cy - top, width=size[1], height=size[0])
