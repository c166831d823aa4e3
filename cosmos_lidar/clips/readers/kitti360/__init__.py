"""KITTI-360: drives with a Velodyne HDL-64E, two rectified cameras, two fisheye cameras and georegistered poses.

Scans are float32 x y z reflectance in the axes of the lidar, x forward, y left, z up, **as measured**: they have not
been motion compensated (the published tools do that with the poses: clockwise, from the direction behind the vehicle,
by the motion from one scan to the next). ``timestamps.txt`` has the moment when the lidar looks forward, the middle of
the scan.

``data_poses/DRIVE/poses.txt`` has the poses of the navigation unit for frames in which the vehicle moved far enough;
``cam0_to_world.txt`` those of the rectified camera 0, taken where the other file is missing. Frames without a pose are
normal: they lie between their neighbors, and at the ends of a drive the vehicle stands. The unit's axes, x forward,
y right, z down, are turned into x forward, y left, z up.

Lenses of ``image_00`` and ``image_01`` are those of the rectified images (``data_rect``). ``image_02`` and ``image_03``
are fisheye images (``data_rgb``) of a lens model with a mirror that has no counterpart here: they come without a lens.
Not read: the SICK scanner, accumulated and labeled clouds (``data_3d_semantics``), labels of images, boxes.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.kitti360.drive import open_drive
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.files import visible
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

DESCRIPTION = "KITTI-360: raw Velodyne scans, perspective and fisheye images, poses"
EXAMPLE_LAYOUT = """
data_3d_raw/2013_05_28_drive_0003_sync/velodyne_points/data/0000000000.bin
data_3d_raw/2013_05_28_drive_0003_sync/velodyne_points/timestamps.txt                        (optional)
calibration/calib_cam_to_velo.txt, calibration/calib_cam_to_pose.txt, calibration/perspective.txt       (optional)
data_poses/2013_05_28_drive_0003_sync/poses.txt, data_poses/2013_05_28_drive_0003_sync/cam0_to_world.txt (optional)
data_2d_raw/2013_05_28_drive_0003_sync/image_00/data_rect/0000000000.png, …                  (optional)
data_2d_raw/2013_05_28_drive_0003_sync/image_02/data_rgb/0000000000.png, …                   (optional)
"""
_DRIVE = re.compile(r"2013_05_28_drive_\d{4}_sync")
_PLACES = ("data_3d_raw", "", "KITTI-360/data_3d_raw")


def recognise(path: Path) -> Strength:
    """Return EXACT for drives with the names that KITTI-360 gives them."""
    return Strength.EXACT if _find_drives(path) else Strength.NONE


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return one clip per drive.

    Raises:
        DataError: no scan in a drive; calibration, poses or times that cannot be read or do not fit.
    """
    sensor = sensor or load_sensor("kitti_hdl64e")
    return open_each((partial(open_drive, drive, sensor) for drive in _find_drives(path)), on_error)


def _find_drives(path: Path) -> list[Path]:
    for above in (path, *path.parents[:3]):
        if _is_drive(above):
            return [above]
    for place in _PLACES:
        drives = [drive for drive in visible(path / place, "2013_05_28_drive_*_sync") if _is_drive(drive)]
        if drives:
            return drives
    return []


def _is_drive(path: Path) -> bool:
    return _DRIVE.fullmatch(path.resolve().name) is not None and (path / "velodyne_points" / "data").is_dir()
