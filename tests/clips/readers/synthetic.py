"""A synthetic drive with a turned lidar and a camera, which tests of readers encode in the layouts of datasets."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np

from cosmos_lidar.clips.clip import Clip, Sweep
from cosmos_lidar.sensors import Sensor, uniform_sensor
from cosmos_lidar.synth import synthesize_drive

# The lidar is turned and off the middle; camera axes x right, y down, z forward.
EGO_SE3_LIDAR = np.array([[0.0, -1, 0, 1.1], [1, 0, 0, 0.2], [0, 0, 1, 2.0], [0, 0, 0, 1]])
EGO_SE3_CAMERA = np.array([[0.0, 0, 1, 1.8], [-1, 0, 0, 0.1], [0, -1, 0, 1.4], [0, 0, 0, 1]])


@lru_cache(maxsize=1)
def sensor() -> Sensor:
    """A lidar with a model like that of the Pandar128: offsets per row, another start."""
    even = uniform_sensor(16, 240, 12.0, -22.0, name="small", max_range_m=95.0)
    return replace(even, first_azimuth_rad=2.9, row_azimuth_offsets_rad=np.linspace(0.0, 0.1, 16))


@lru_cache(maxsize=2)
def drive(frames: int = 3) -> Clip:
    """The drive; its lidar is mounted as ``EGO_SE3_LIDAR`` says by another origin of the vehicle."""
    return synthesize_drive(7, sensor(), frames, noise=None)


@lru_cache(maxsize=8)
def recorded(index: int) -> Sweep:
    """A sweep of the drive."""
    return drive().read_sweep(index)


def ego_pose(time_s: float) -> np.ndarray:
    """world_SE3_vehicle (4, 4) of the recording, for which the lidar of the drive is where the mounting has it."""
    made = drive().lidar.read.__self__
    return made.world_SE3_lidar(time_s) @ np.linalg.inv(EGO_SE3_LIDAR)
