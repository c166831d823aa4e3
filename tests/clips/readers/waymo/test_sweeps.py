from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips.readers.waymo.geometry import lidar_geometry
from cosmos_lidar.clips.readers.waymo.matrices import Place
from cosmos_lidar.clips.readers.waymo.sweeps import AsPoints, make_return, with_points
from cosmos_lidar.clips.sweep import sweep_problems
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import range_map_to_points

GEOMETRY = lidar_geometry(1, np.array([-0.1, 0.1]), (0, 0), np.eye(4), (2, 4))
PLACE = Place(Path("a"), "clip", "record 0")


def image() -> np.ndarray:
    made = np.full((2, 4, 4), -1, np.float32)
    made[0, 1], made[1, 3] = (12.5, 0.25, 1.5, 1), (3.0, 2.0, 0.0, 0)
    return made


def test_pixels_without_a_return_are_zero():
    labels = np.full((2, 4, 2), 7, np.int32)
    made = image()
    made[0, 0, 0] = np.nan
    sweep = make_return([made[:1], made[1:]], labels, GEOMETRY, PLACE)
    assert sweep_problems(sweep, GEOMETRY.sensor) == []
    assert sweep.range_m.tolist() == [[0, 12.5, 0, 0], [0, 0, 0, 3]]
    assert sweep.intensity.tolist() == [[0, 0.25, 0, 0], [0, 0, 0, 2]]
    assert sweep.elongation.tolist() == [[0, 1.5, 0, 0], [0, 0, 0, 0]]
    assert sweep.labels.tolist() == sweep.instance.tolist() == [[0, 7, 0, 0], [0, 0, 0, 7]]
    assert sweep.points is None
    assert not np.signbit(sweep.range_m).any()


def test_a_lidar_that_stands_still():
    poses = np.zeros((2, 4, 6), np.float32)
    (sweep,) = with_points([make_return([image()], None, GEOMETRY, PLACE)], [poses], GEOMETRY, np.eye(4))
    assert sweep_problems(sweep, GEOMETRY.sensor) == []
    assert np.abs(sweep.points - range_map_to_points(sweep.range_m, GEOMETRY.sensor)).max() < 1e-5
    seen = AsPoints(lambda index: sweep, GEOMETRY.sensor)(0)
    assert (seen.range_m, seen.ring.tolist(), seen.intensity.tolist()) == (None, [0, 1], [0.25, 2.0])


def test_impossible_values():
    endless, labels = image(), np.zeros((2, 4, 2), np.int32)
    endless[0, 0, 0] = np.inf
    with pytest.raises(DataError, match="infinite ranges"):
        make_return([endless], None, GEOMETRY, PLACE)
    for value in (-1, 70_000):
        labels[0, 0, 1] = value
        with pytest.raises(DataError, match="labels below 0 or beyond 16 bits"):
            make_return([image()], labels, GEOMETRY, PLACE)
