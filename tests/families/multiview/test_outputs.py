"""Outputs of multi-view generation: tiles, PSNR, records that keep or refuse."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.multiview.inputs import ViewInput
from cosmos_lidar.families.multiview.outputs import comparison_image, frame_psnr, is_finished, tile, write_clip

SETTINGS = {"seed": 0, "conditional": 1}


def some(recorded: int = 4) -> ViewInput:
    return ViewInput("clip", ("a", "b"), torch.zeros(2, 3, recorded, 16, 32, dtype=torch.uint8), None, (), 10.0)


def test_tiles() -> None:
    images = [np.full((2, 3, 3), number, np.uint8) for number in (1, 2, 3)]
    grid, stack = tile(images, "grid"), tile(images, "stack")
    assert grid.shape == (4, 6, 3)
    assert [grid[0, 0, 0], grid[0, 3, 0], grid[2, 0, 0], grid[2, 3, 0]] == [1, 2, 3, 0]
    assert stack.shape == (6, 3, 3)
    assert stack[::2, 0, 0].tolist() == [1, 2, 3]


def test_psnr_is_of_the_generated_frames() -> None:
    video = torch.full((2, 3, 4, 16, 32), 5, dtype=torch.uint8)
    video[:, :, 0] = 200
    assert frame_psnr(some(), video, 1) == pytest.approx(10 * math.log10(255**2 / 25))
    assert frame_psnr(some(1), video, 1) is None


def test_the_image_has_recorded_images_above() -> None:
    video = torch.full((2, 3, 4, 16, 32), 5, dtype=torch.uint8)
    image = comparison_image(some(), video)
    assert image.shape == (4 * 16, 4 * 32, 3)
    assert image[::16, 0, 0].tolist() == [0, 5, 0, 5]
    assert comparison_image(some(1), video).shape == (2 * 16, 4 * 32, 3)


def test_records(tmp_path: Path) -> None:
    assert not is_finished(tmp_path, "clip", SETTINGS, overwrite=False)
    video = torch.zeros(2, 3, 4, 16, 32, dtype=torch.uint8)
    write_clip(tmp_path, some(), video, 10.0, "grid", SETTINGS)
    assert is_finished(tmp_path, "clip", SETTINGS, overwrite=False)
    with pytest.raises(UserError, match=r"other settings \(seed\)"):
        is_finished(tmp_path, "clip", SETTINGS | {"seed": 1}, overwrite=False)
    assert not is_finished(tmp_path, "clip", SETTINGS | {"seed": 1}, overwrite=True)
    (tmp_path / "clip.json").write_text("[]")
    with pytest.raises(UserError, match="conditional, seed"):
        is_finished(tmp_path, "clip", SETTINGS, overwrite=False)
    (tmp_path / "clip.json").write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        is_finished(tmp_path, "clip", SETTINGS, overwrite=False)
    (tmp_path / "clip.json").unlink()
    with pytest.raises(UserError, match="not known to be complete"):
        is_finished(tmp_path, "clip", SETTINGS, overwrite=False)
