from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.losses.reconstruction import l1

VECTORS = np.load(Path(__file__).parents[1] / "vectors" / "image_tokenizer.npz")


def frames() -> tuple[torch.Tensor, torch.Tensor]:
    """Two clips of 3 frames, time folded into the batch: (3, 3, 32, 32)."""
    return tuple(torch.from_numpy(VECTORS[f"loss/{name}"])[0].transpose(0, 1).contiguous() for name in "xy")


def test_color():
    x, y = frames()
    assert l1(y, x).item() == pytest.approx(0.0930817, abs=1e-6)


def test_color_of_marked_pixels_only():
    x = torch.zeros(1, 3, 2, 2)
    y = torch.tensor([[1.0, 5.0], [2.0, 7.0]]).expand(1, 3, 2, 2)
    mask = torch.tensor([[[[True, False], [True, False]]]])
    assert l1(y, x, mask).item() == pytest.approx(1.5)
    assert l1(y, x, torch.ones(1, 1, 2, 2, dtype=torch.bool)).item() == pytest.approx(l1(y, x).item())
    assert l1(y, x, torch.zeros(1, 1, 2, 2, dtype=torch.bool)).item() == 0.0


@pytest.mark.parametrize(
    ("y", "mask", "message"),
    [
        ((2, 3, 8, 1), None, "images of (2, 3, 8, 1) and (2, 3, 8, 8)"),
        ((2, 1, 8, 8), None, "images of (2, 1, 8, 8) and (2, 3, 8, 8)"),
        ((2, 3, 8, 8), (2, 8, 8), "mask of (2, 8, 8) for images of (2, 3, 8, 8) Expected: (2, 1, 8, 8)"),
        ((2, 3, 8, 8), (2, 3, 8, 8), "mask of (2, 3, 8, 8) for images"),
        ((2, 3, 8, 8), (1, 1, 8, 8), "mask of (1, 1, 8, 8) for images"),
    ],
)
def test_shapes_that_would_be_stretched_are_refused(y: tuple[int, ...], mask: tuple[int, ...] | None, message: str):
    given = None if mask is None else torch.ones(mask)
    with pytest.raises(DataError, match=re.escape(message)):
        l1(torch.zeros(y), torch.zeros(2, 3, 8, 8), given)
