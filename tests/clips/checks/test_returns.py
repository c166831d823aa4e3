from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.clips import Sweep, open_clips
from cosmos_lidar.sensors import range_map_to_points


@pytest.fixture
def as_points(drive):
    """Return a function: the drive with sweeps of points, each changed by a function."""

    def make(change):
        def read(index: int) -> Sweep:
            sweep = drive.lidar.read(index)
            points = np.asarray(range_map_to_points(sweep.range_m, drive.sensor))
            seen = sweep.range_m > 0
            ring = np.nonzero(seen)[0].astype(np.uint16)
            return change(Sweep(points=points, intensity=sweep.intensity[seen], ring=ring))

        return drive.with_lidar(read=read)

    return make


def test_good_returns(drive, as_points, found):
    assert found("returns", drive) == []
    assert found("returns", as_points(lambda sweep: sweep)) == []


def test_an_upside_down_cloud_is_outside_and_evidence_has_its_elevations(as_points, found):
    findings = found("returns", as_points(lambda sweep: replace(sweep, points=sweep.points * np.float32([1, 1, -1]))))
    one = next(one for one in findings if one.kind == "returns.outside")
    low, _, high = one.evidence["elevation_1_50_99_deg"]
    assert one.severity == "warning"  # the near ground is above it, the rest within
    assert low > -16.0
    assert high > 24.0
    assert one.evidence["sensor_elevations_deg"] == [15.0, -25.0]


def test_rings_that_are_no_cones(as_points, found):
    def vehicle_axes(sweep: Sweep) -> Sweep:  # points in the axes of a vehicle whose lidar is tilted by 30 degrees
        c, s = np.cos(np.radians(30)), np.sin(np.radians(30))
        return replace(sweep, points=(sweep.points @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])).astype(np.float32))

    ring = next(one for one in found("returns", as_points(vehicle_axes)) if one.kind == "returns.ring")
    assert ring.severity == "error"
    assert ring.evidence["spread_deg"] > 5
    rng = np.random.default_rng(0)
    shuffled = as_points(lambda sweep: replace(sweep, ring=rng.permutation(sweep.ring)))
    assert [one.kind for one in found("returns", shuffled)] == ["returns.ring"]


def test_intensities(as_points, found):
    constant = as_points(lambda sweep: replace(sweep, intensity=np.full(len(sweep.points), 3, np.float32)))
    (one,) = found("returns", constant)
    assert (one.kind, one.severity, one.evidence) == (
        "returns.intensity_constant", "warning", {"value": 3.0, "sweeps": 3},
    )  # fmt: skip

    def one_nan(sweep: Sweep) -> Sweep:
        intensity = sweep.intensity.copy()
        intensity[5] = np.nan
        return replace(sweep, intensity=intensity)

    findings = found("returns", as_points(one_nan))
    assert [(one.kind, one.severity, one.frame) for one in findings] == [
        ("returns.intensity_not_finite", "error", frame) for frame in (0, 4, 7)
    ]
    assert findings[0].text.startswith("sweep 0: 1 of ")


@pytest.mark.parametrize("folder", ["kitti_velodyne", "kitti_object", "semantickitti", "nuscenes", "av2", "ddad_dgp"])
def test_real_recordings_are_quiet(test_data, folder, found):
    for clip in open_clips(test_data / folder):
        assert [one for one in found("returns", clip) if not one.kind.startswith("clock")] == []
