from __future__ import annotations

import numpy as np

from cosmos_lidar.clips.readers.ouster.frames import RawFrame, to_sweep
from cosmos_lidar.clips.readers.ouster.metadata import geometry_of
from cosmos_lidar.clips.sweep import sweep_problems, to_points
from tests.clips.readers.ouster.recordings import COLUMNS, ROWS, SHIFTS, START_NS, fields, metadata, times_ns


def test_two_returns_have_the_points_of_their_own_ranges():
    geometry = geometry_of(metadata())
    values = fields("RNG19_RFL8_SIG16_NIR16_DUAL", 0)
    sweep = to_sweep(RawFrame(values, times_ns(0).astype(np.uint64)), geometry, START_NS // 1000)
    assert sweep_problems(sweep, geometry.sensor) == []
    points = to_points(sweep, geometry.sensor)
    counts = [int((values[name] > 0).sum()) for name in ("RANGE", "RANGE2")]
    assert np.bincount(points.returns).tolist() == [0, *counts]
    distances = np.linalg.norm(points.points, axis=1)
    ranges = np.concatenate([sweep.range_m[sweep.range_m > 0],
                             sweep.second_return.range_m[sweep.second_return.range_m > 0]])  # fmt: skip
    assert np.abs(distances - ranges).max() < 0.016
    assert np.abs(distances - ranges).max() > 0


def test_lost_columns_have_time_0_and_ranges_beyond_the_storable_are_left_out():
    times, ranges = times_ns(0).astype(np.uint64), np.full((ROWS, COLUMNS), 300_000)
    times[5] = 0
    ranges[:, 7] = 200_000
    sweep = to_sweep(RawFrame({"RANGE": ranges}, times), geometry_of(metadata()), START_NS // 1000)
    assert (sweep.range_m > 0).sum() == ROWS
    assert sweep.range_m[0, 7 + SHIFTS[0]] == np.float32(200.0)
    assert sweep.time_us[0, 5 + SHIFTS[0]] == 0
    assert sweep.intensity is None
