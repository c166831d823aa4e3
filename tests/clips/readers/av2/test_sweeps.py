from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.errors import DataError
from tests.clips.readers.test_av2 import FIRST_NS, STEP_NS, WORLD, write_log, write_sweep, write_table


def second(log: Path) -> Path:
    return log / f"sensors/lidar/{FIRST_NS + STEP_NS}.feather"


def points(count: int, laser: int = 3) -> dict[str, np.ndarray]:
    columns = {axis: np.full(count, 5.0) for axis in "xyz"}
    return {
        **columns,
        "intensity": np.zeros(count, np.uint8),
        "laser_number": np.full(count, laser),
        "offset_ns": np.zeros(count, np.int32),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"laser_number": None}, "no such column among.*key laser_number"),
        ({"x": ["a", "b"]}, "string.*key x.*kind number"),
        ({"laser_number": np.array([0.0, 1.0])}, "double.*key laser_number.*kind integer"),
        ({"laser_number": np.array([3, 64])}, "3 to 64.*key laser_number.*numbers from 0 to 63"),
        ({"laser_number": np.array([40, 41])}, "no point of up_lidar among 2.*key laser_number.*lasers 0 to 31"),
    ],
)
def test_broken_columns(tmp_path, change, message):
    log = write_log(tmp_path)
    columns = {name: value for name, value in (points(2) | change).items() if value is not None}
    write_table(second(log), **columns)
    (clip,) = open_clips(log)
    assert len(clip.points(0)) == np.count_nonzero(np.arange(len(WORLD)) % 64 < 32)
    with pytest.raises(DataError, match=message) as caught:
        clip.read_sweep(1)
    assert f"{FIRST_NS + STEP_NS}.feather, clip 7fab2350-7eaf" in str(caught.value)


def test_zero_points_and_truncated_files(tmp_path):
    log = write_log(tmp_path)
    write_table(second(log), **points(0))
    (clip,) = open_clips(log)
    with pytest.raises(DataError, match="no point of up_lidar among 0"):
        clip.read_sweep(1)
    first = log / f"sensors/lidar/{FIRST_NS}.feather"
    first.write_bytes(first.read_bytes()[:900])
    with pytest.raises(DataError, match=f"not readable.*{FIRST_NS}.feather, clip"):
        clip.read_sweep(0)
    assert any("no point of up_lidar" in problem for problem in check_clip(clip).problems)


def test_points_that_are_no_numbers_are_left_out(tmp_path):
    log = write_log(tmp_path)
    ego = np.array([[10.0, 0, 0], [np.nan, 0, 0], [np.inf, 1, 1], [11.0, 0, 0]])
    write_sweep(second(log), ego, np.array([1, 1, 2, 2]), np.array([0, 1e6, 2e6, 2_655_500]))
    sweep = open_clips(log)[0].read_sweep(1)
    assert (len(sweep.points), sweep.without_return) == (2, 2)
    assert sweep.ring.tolist() == [1, 2]
    assert sweep.time_us.tolist() == [-2654, 2]  # before the start is allowed; rounded to microseconds
