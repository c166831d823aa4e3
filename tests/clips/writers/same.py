"""Comparison of clips before and after a layout."""

from __future__ import annotations

import numpy as np

from cosmos_lidar.clips import Clip, Sweep

VALUES = ("points", "intensity", "labels", "instance", "time_us", "ring", "returns")


def differing(given: Sweep, read: Sweep, values: tuple[str, ...] = VALUES) -> list[str]:
    """Return the values of two sweeps of points that are not equal to the last bit."""
    pairs = {name: (getattr(given, name), getattr(read, name)) for name in values}
    return [
        name for name, (a, b) in pairs.items()
        if (a is None) != (b is None) or (a is not None and not (a.dtype == b.dtype and np.array_equal(a, b)))
    ]  # fmt: skip


def assert_same_track(given: Clip, read: Clip) -> None:
    """Check ids, times, poses, mounting and beams of the main lidars."""
    assert (read.clip_id, read.lidar.name) == (given.clip_id, given.lidar.name)
    assert read.frame_ids == given.frame_ids
    assert np.array_equal(read.timestamps_us, given.timestamps_us)
    assert np.allclose(read.world_SE3_lidar, given.world_SE3_lidar, rtol=0, atol=1e-9)
    assert np.array_equal(read.lidar.ego_SE3_lidar, given.lidar.ego_SE3_lidar)
    assert read.motion_compensated == given.motion_compensated
    assert read.sensor.fingerprint() == given.sensor.fingerprint()
