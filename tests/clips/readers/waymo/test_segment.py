from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips.readers.waymo.geometry import lidar_geometry
from cosmos_lidar.clips.readers.waymo.segment import Segment, camera_stream, lidar_stream, make_clip
from cosmos_lidar.errors import DataError


def segment(*times: int) -> Segment:
    poses = np.tile(np.eye(4), (len(times), 1, 1))
    poses[:, 0, 3] = np.array(times) / 1e5
    return Segment("a", Path("a.tfrecord"), "waymo", np.array(times, np.int64), poses)


def test_a_sweep_ends_where_the_next_one_starts_or_after_a_usual_step():
    spans = segment(0, 100_000, 200_100, 500_000, 600_000).spans_us
    assert spans.tolist() == [[0, 100_000], [100_000, 200_100], [200_100, 300_150], [500_000, 600_000],
                              [600_000, 700_050]]  # fmt: skip
    assert segment(7).spans_us.tolist() == [[7, 100_007]]


def test_frames_at_one_time():
    segment(1, 2, 3).check_times()
    with pytest.raises(DataError, match="two frames at 2 us"):
        segment(1, 2, 2).check_times()


def test_pixel_poses_move_a_lidar_and_their_absence_makes_it_a_moment():
    geometry = lidar_geometry(1, np.array([-0.1, 0.1]), (0, 0), np.eye(4), (2, 8))
    ends = np.tile(np.eye(4), (2, 1, 1))
    ends[:, 1, 3] = 5.0, 6.0
    given: list[np.ndarray] = []
    made = segment(0, 100_000, 200_000)
    moving = lidar_stream(made, geometry, np.array([0, 2]), {2: ends}, lambda poses: given.append(poses) or len)
    assert moving.timestamps_us.tolist() == [[0, 100_000], [200_000, 300_000]]
    assert moving.world_SE3_lidar[1, :, 1, 3].tolist() == [5.0, 6.0]
    assert moving.world_SE3_lidar[0, :, 0, 3].tolist() == [0.0, 0.0]  # no pixel poses: that of the frame
    assert np.array_equal(given[0], moving.world_SE3_lidar[:, 0])
    still = lidar_stream(made, geometry, np.arange(3), {}, lambda poses: len)
    assert still.timestamps_us.tolist() == [[50_000, 50_001], [150_000, 150_001], [250_000, 250_001]]


def test_nothing_in_a_segment():
    with pytest.raises(DataError, match="neither lidar nor camera"):
        make_clip(segment(1), [], [], None)
    poses = np.tile(np.eye(4), (1, 1, 1))
    calibration = ((100.0, 100.0, 48.0, 32.0, 0.1, 0, 0, 0, 0), (96, 64), np.eye(4))
    camera = camera_stream(segment(1), "FRONT", np.array([5]), poses, calibration, len)
    assert camera.model.cx == 47.5
    assert make_clip(segment(1), [], [camera], None).notes == ("no lidar in it",)


def test_a_lens_that_is_none_is_named():
    calibration = ((0.0, 100.0, 48.0, 32.0, 0.1, 0, 0, 0, 0), (96, 64), np.eye(4))
    with pytest.raises(DataError, match="not a camera") as caught:
        camera_stream(segment(1), "FRONT", np.array([5]), np.eye(4)[None], calibration, len)
    assert (caught.value.file, caught.value.clip) == (Path("a.tfrecord"), "a")
    assert caught.value.key.startswith("FRONT, ")
