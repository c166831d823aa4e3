"""Range images of a moment: the nearest returns of blocks of the range map, brightness as in depth images."""

from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.controls.depth import brightness
from cosmos_lidar.clips.sweep_images import SweepImages, check_size, nearest_of_blocks
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.synth import synthesize_drive
from tests.shards.cameras import camera_clip


def test_blocks_show_their_nearest_return() -> None:
    ranges = np.array([[0, 5, 9, 0], [7, 3, 0, 0]], np.float32)
    assert nearest_of_blocks(ranges, (1, 2)).tolist() == [[3, 9]]
    assert nearest_of_blocks(ranges, (4, 2)).tolist() == [[5, 9], [5, 9], [3, 0], [3, 0]]
    assert nearest_of_blocks(ranges[:1], (1, 3)).tolist() == [[0, 5, 9]]


def test_the_sweep_of_the_moment() -> None:
    clip = synthesize_drive(2, uniform_sensor(16, 96), 3)
    draw = SweepImages(clip, (16, 48))
    found = draw(int(clip.timestamps_us[1].mean()))
    assert found.shape == (16, 48, 3)
    ranges = clip.range_map(1)
    nearest = np.where(ranges > 0, ranges, np.inf).reshape(16, 48, 2).min(2)
    assert np.array_equal(found[..., 1], brightness(nearest))
    assert (found > 0).mean() > 0.3
    assert not np.array_equal(found, draw(int(clip.timestamps_us[2].mean())))
    assert not draw(int(clip.timestamps_us[2, 1]) + 200_000).any()


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(DataError):
        SweepImages(camera_clip("a"), (16, 48))(0)
    for size in ([16], [16, 40], [0, 16]):
        with pytest.raises(UserError, match=r"model.sweeps.size=.*multiples of 16, such as \[64,512\]"):
            check_size(size, "model.sweeps.size")
    check_size((), "x")
