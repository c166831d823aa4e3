"""Points to where the lidar saw them: against pose by pose, all reference times, and a drive at 20 m/s."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import LidarStream, Sweep
from cosmos_lidar.clips.deskew import sweep_motion
from cosmos_lidar.clips.trajectory import Trajectory
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import compensate_motion, range_map_to_points, uniform_sensor
from tests.clips.test_trajectory import FIRST_US, braking_turn
from tests.workers.client import python

SENSOR = uniform_sensor(8, 64)
TIMES = np.array([FIRST_US + 200_000, FIRST_US + 300_000])


def track(order: int = 1, step_s: float = 0.005) -> Trajectory:
    nodes_s = np.arange(0, 0.6, step_s)
    return Trajectory(braking_turn(nodes_s), FIRST_US + np.rint(nodes_s * 1e6).astype(np.int64), order)


def cloud(count: int = 3000) -> np.ndarray:
    rng = np.random.default_rng(5)
    points = rng.uniform(-50, 50, (count, 3)) * [1, 1, 0.1]
    return points[np.linalg.norm(points[:, :2], axis=1) > 6]


@pytest.mark.parametrize("reference_s", [0.2, 0.25, 0.3])
def test_each_point_by_the_pose_of_its_time(reference_s):
    still, time_us = cloud(), np.random.default_rng(0).integers(-3000, 103_000, len(cloud()))
    motion = sweep_motion(SENSOR, TIMES, track(2), reference_us=FIRST_US + round(reference_s * 1e6))
    reference = braking_turn(np.array(reference_s))
    poses = braking_turn(0.2 + time_us / 1e6)
    world = still @ reference[:3, :3].T + reference[:3, 3]
    expected = np.einsum("nji,nj->ni", poses[:, :3, :3], world - poses[:, :3, 3])
    seen = motion.as_seen(still, time_us)
    assert np.abs(seen - expected).max() < 2e-5
    assert np.abs(motion.compensated(seen, time_us) - still).max() < 2e-5
    assert motion.as_seen(still.astype(np.float32), time_us).dtype == np.float32


def test_by_azimuth_and_back():
    still = cloud()
    motion = sweep_motion(SENSOR, TIMES, track(2), reference_us=int(TIMES.mean()))
    off = np.linalg.norm(motion.compensated(motion.as_seen(still)) - still, axis=1)
    assert np.quantile(off, 0.97) < 1e-5  # points near the start azimuth may fall on the other side of the wrap


def test_straight_motion_to_the_start_is_the_published_one():
    ends = braking_turn(np.array([0.2, 0.3]))
    motion = sweep_motion(SENSOR, TIMES, world_SE3_lidar=ends)
    seen, time_us = cloud(), np.linspace(0, 100_000, len(cloud()))
    published = compensate_motion(seen, SENSOR, np.linalg.inv(ends[1]) @ ends[0], time_us / 1e5)
    assert np.array_equal(motion.compensated(seen, time_us), published)
    other = replace(motion, trajectory=Trajectory(np.stack([ends[0], *ends]), np.array([TIMES[0] - 9, *TIMES])))
    assert np.abs(other.compensated(seen, time_us) - published).max() < 1e-5


def test_no_points_and_no_poses():
    motion = sweep_motion(SENSOR, TIMES, track(), reference_us=int(TIMES[1]))
    assert motion.as_seen(np.zeros((0, 3), np.float32)).shape == (0, 3)
    with pytest.raises(DataError, match="no poses of the lidar"):
        sweep_motion(SENSOR, TIMES)


@pytest.mark.parametrize("with_times", [True, False])
@pytest.mark.parametrize("reference", [0.0, 0.5, 1.0])
def test_a_lidar_stream_projects_points_as_seen(reference, with_times):
    """A sweep in which every pixel has a return, compensated: its range map has them all in their places again."""
    rows, columns = np.indices(SENSOR.shape)
    range_m = (20 + 5 * np.sin(columns / 5) + rows).astype(np.float32)
    points = range_map_to_points(range_m, SENSOR).astype(np.float64)
    time_us = np.rint((columns.reshape(-1) + 0.5) / SENSOR.columns * 1e5).astype(np.int32)
    at_us = int(TIMES[0] + reference * 100_000)
    moved = sweep_motion(SENSOR, TIMES, track(), reference_us=at_us).compensated(points, time_us).astype(np.float32)
    sweep = Sweep(points=moved, time_us=time_us if with_times else None)
    stream = LidarStream(
        "lidar", SENSOR, ("0",), TIMES[None], lambda index: sweep, None, True,
        reference_us=np.array([at_us]), trajectory=track(),
    )  # fmt: skip
    assert np.allclose(stream.range_map(0), range_m, atol=0.01)
    naive = replace(stream, motion_compensated=False).range_map(0)
    assert (np.abs(naive - range_m) > 0.1).mean() > 0.1


def test_a_drive_of_20_m_per_s_has_rows_without_shadows():
    """Every way of moving points back loses at most 0.5 % of the pixels; the points as they come lose far more."""
    program = Path(__file__).parents[2] / "benchmarks" / "deskew.py"
    done = python(program, "--sensor", "uniform64", "--seeds", "1", "--references", "start", "middle", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    naive = {row["reference"]: row for row in rows if row["way"] == "as they come"}
    others = [row for row in rows if row["way"] != "as they come"]
    assert (len(naive), len(others)) == (2, 12)
    for row in others:
        assert row["lost"] <= 0.005, row
        assert row["lost"] < 0.1 * naive[row["reference"]]["lost"], row
    assert all(row["lost"] > 0.02 for row in naive.values())
