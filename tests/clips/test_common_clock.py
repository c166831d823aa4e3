"""One clock for several cameras: nearest images, other rates, gaps, what cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.clip import CameraStream
from cosmos_lidar.clips.common_clock import common_runs
from cosmos_lidar.errors import DataError, UserError


def camera(name: str, times_ms: object) -> CameraStream:
    times = np.asarray(times_ms, np.int64) * 1000
    return CameraStream(name, times, lambda index: np.zeros((2, 2, 3), np.uint8))


def test_the_first_camera_is_the_clock_and_others_give_their_nearest_image():
    front, left = camera("front", np.arange(6) * 100), camera("left", np.arange(12) * 50 - 20)
    (run,) = common_runs([front, left])
    assert run.clock_us.tolist() == [0, 100_000, 200_000, 300_000, 400_000, 500_000]
    assert run.numbers.tolist() == [[0, 1, 2, 3, 4, 5], [0, 2, 4, 6, 8, 10]]
    assert (run.times_us[1] - run.clock_us).tolist() == [-20_000] * 6
    assert run.fps == pytest.approx(10.0)


def test_a_rate_of_its_own_counts_from_where_all_cameras_run():
    front, left = camera("front", np.arange(31) * 100 / 3), camera("left", np.arange(31) * 100 / 3 + 40)
    (run,) = common_runs([front, left], fps=10.0)
    assert run.clock_us[0] == 40_000
    assert np.diff(run.clock_us).tolist() == [100_000] * 9
    assert np.diff(run.numbers, axis=1).tolist() == [[3] * 9, [3] * 9]
    assert np.abs(run.times_us - run.clock_us).max() <= 17_000


def test_missing_images_of_one_camera_cut_the_clock():
    front = camera("front", np.arange(10) * 100)
    left = camera("left", [0, 100, 200, 300, 600, 700, 800, 900])
    runs = common_runs([front, left])
    assert [run.numbers[0].tolist() for run in runs] == [[0, 1, 2, 3], [6, 7, 8, 9]]
    assert runs[1].numbers[1].tolist() == [4, 5, 6, 7]
    assert len(runs[0][1:3]) == 2


def test_no_image_twice_in_a_run():
    front, slow = camera("front", np.arange(8) * 100), camera("slow", np.arange(4) * 200)
    for run in common_runs([front, slow]):
        assert (np.diff(run.numbers) > 0).all()


def test_tolerance():
    front, late = camera("front", np.arange(5) * 100), camera("late", np.arange(5) * 100 + 30)
    assert sum(map(len, common_runs([front, late], tolerance_s=0.02))) == 0
    assert sum(map(len, common_runs([front, late], tolerance_s=0.03))) == 5


def test_cameras_of_different_hours_have_nothing_in_common():
    assert common_runs([camera("a", np.arange(5) * 100), camera("b", np.arange(5) * 100 + 10**7)]) == []
    (run,) = common_runs([camera("a", [0]), camera("b", [0])])
    assert (len(run), run.fps) == (1, 0.0)


def test_what_cannot_be():
    with pytest.raises(DataError, match="camera left: its times do not increase"):
        common_runs([camera("left", [0, 100, 100])])
    with pytest.raises(DataError, match="camera left: it has no images"):
        common_runs([camera("left", [])])
    with pytest.raises(UserError, match="fps 30: camera left has 10 images per second, which would repeat"):
        common_runs([camera("left", np.arange(5) * 100)], fps=30)
    with pytest.raises(UserError, match="no cameras"):
        common_runs([])
