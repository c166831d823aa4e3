"""Frames of the object set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import Clip, one_lidar_clip
from cosmos_lidar.clips.files import PointSweeps, clean_id, image_size
from cosmos_lidar.clips.readers.kitti import files as text
from cosmos_lidar.clips.readers.kitti.scans import LIDAR, around
from cosmos_lidar.clips.readers.kitti.track import make_camera
from cosmos_lidar.sensors.sensor import Sensor


def open_object(folder: Path, file: Path, sensor: Sensor) -> Clip:
    """Open one frame of an object folder."""
    name = clean_id(f"{folder.name}_{file.stem}")
    calibration = folder / "calib" / f"{file.stem}.txt"
    rows = text.read_calibration(calibration, name)
    rectify = text.calibration_pose(rows, ("R0_rect", "R_rect"), calibration, name)
    mount = text.calibration_pose(rows, ("Tr_velo_to_cam", "Tr_velo_cam"), calibration, name)
    middle = np.array([500_000 / sensor.spin_hz]).astype(np.int64)
    cameras = {}
    for index in (2, 3):
        image = folder / f"image_{index}" / f"{file.stem}.png"
        if image.is_file():
            lens, shift = text.split_projection(rows, f"P{index}", image_size(image), calibration, name)
            camera = make_camera(f"image_{index}", [image], lens, shift @ rectify @ mount, middle, None, name)
            cameras[camera.name] = camera
    notes = ("a single frame of the object set: no times, no poses",)
    sweeps = PointSweeps(name, (file,))
    return one_lidar_clip(
        name, sensor, (file.stem,), around(middle, sensor), sweeps, file, "kitti",
        motion_compensated=True, cameras=cameras, notes=notes, name=LIDAR,
    )  # fmt: skip
