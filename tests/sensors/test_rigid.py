from __future__ import annotations

import numpy as np

from cosmos_lidar.sensors.rigid import rigid


def test_rigid():
    poses = np.tile(np.eye(4), (6, 1, 1))
    poses[1, 0, 0] = np.nan
    poses[2, 0, 0] = -1.0  # a mirror
    poses[3, :3, :3] *= 1.01
    poses[4, 3, 0] = 0.5
    poses[5, :3, 3] = 1e6
    assert rigid(poses).tolist() == [True, False, False, False, False, True]
