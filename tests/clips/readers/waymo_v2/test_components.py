from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.readers.waymo_v2.components import _segment
from cosmos_lidar.clips.readers.waymo_v2.layout import find_segments
from cosmos_lidar.sensors.rigid import rigid

pytest.importorskip("pyarrow", reason="extra parquet is not installed")


def test_real_poses(test_data):
    """Of the public sample: 199 poses at 10 Hz of a car that moves 1.9 m/s."""
    (files,) = find_segments(test_data / "waymo" / "v2")
    segment = _segment(files)
    assert segment.clip_id == "10023947602400723454_1120_000_1140_000"
    assert segment.world_SE3_ego.shape == (199, 4, 4)
    assert rigid(segment.world_SE3_ego, 1e-5).all()
    assert np.abs(np.diff(segment.times_us) - 100_000).max() < 100
    steps = np.linalg.norm(np.diff(segment.world_SE3_ego[:, :3, 3], axis=0), axis=1)
    assert steps[:5] == pytest.approx(0.188, abs=0.003)
    forward = np.einsum("ni,ni->n", np.diff(segment.world_SE3_ego[:, :3, 3], axis=0), segment.world_SE3_ego[:-1, :3, 0])
    assert forward[:5] == pytest.approx(steps[:5], rel=0.01)  # the car drives along its own x
