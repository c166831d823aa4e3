"""KITTI: odometry sequences, raw drives, frames of the object set, any folder of such ``.bin`` files.

Points are float32 x y z reflectance in the axes of the lidar, x forward, y left, z up. In all published layouts
(odometry, object, synchronized raw) they have been moved to where the vehicle was when the scanner looked forward,
which is the middle of the sweep and the moment of the images (checked: only moved back from there, clockwise, do the
azimuths of a ring advance in equal steps again). Where poses are known this reader moves them on to the
start of the sweep, as :class:`~cosmos_lidar.clips.clip.Clip` wants motion-compensated points.

Sequences with labels are SemanticKITTI: the reader of that name opens them; asked by name, this one reads them, too.
KITTI stores neither ring nor time of a point nor a second return. Raw drives named ``…_extract`` are as measured:
points are not compensated and images not rectified; their lenses are those of the rows ``K`` and ``D`` of the
calibration. Not read: boxes, tracklets, maps.

The world frame is that of the lidar at the first sweep (odometry) or east-north-up (raw).
The frames of the object set are random moments: each is a clip of its own, also because images differ in size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.kitti.object_set import open_object
from cosmos_lidar.clips.readers.kitti.raw import open_raw
from cosmos_lidar.clips.readers.kitti.scans import (
    find_folders,
    has_labels,
    has_tags,
    open_bare,
    scan_files,
    strength_of,
)
from cosmos_lidar.clips.readers.kitti.sequences import open_sequence
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

DESCRIPTION = "KITTI odometry, raw or object, or a folder of float32 x y z reflectance .bin files"
EXAMPLE_LAYOUT = """
sequences/08/velodyne/000000.bin                              odometry; also below dataset/
sequences/08/times.txt, sequences/08/calib.txt                (optional)
poses/08.txt                                                  (optional; or sequences/08/poses.txt)
sequences/08/image_2/000000.png                               (optional)

2011_09_26/2011_09_26_drive_0001_sync/velodyne_points/data/0000000000.bin                                       raw
2011_09_26/2011_09_26_drive_0001_sync/velodyne_points/timestamps.txt, …                                  (optional)
2011_09_26/2011_09_26_drive_0001_sync/oxts/data/0000000000.txt, …                                        (optional)
2011_09_26/2011_09_26_drive_0001_sync/image_02/data/0000000000.png, …                                    (optional)
2011_09_26/calib_velo_to_cam.txt, 2011_09_26/calib_cam_to_cam.txt, 2011_09_26/calib_imu_to_velo.txt      (optional)

training/velodyne/000000.bin, training/calib/000000.txt       object
training/image_2/000000.png                                   (optional)

FOLDER/000000.bin                                             (generic) nothing but scans
"""
ASSUMED = "float32 x y z reflectance, x forward, y left, z up, of an HDL-64E at 10 Hz, moved to the middle of the sweep"


def recognise(path: Path) -> Strength:
    """Return EXACT for the layouts with KITTI's own names, GENERIC for other folders of ``.bin`` files.

    Sequences with labels or tags are GENERIC: they are those of SemanticKITTI, SemanticPOSS and others.
    """
    folders = find_folders(path)[:32]
    if any(kind == "sequence" and (has_labels(folder) or has_tags(folder)) for folder, kind in folders):
        return Strength.GENERIC
    return max((strength_of(folder, kind) for folder, kind in folders[:8]), default=Strength.NONE)


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return the clips at ``path``: one per sequence, drive or folder; one per frame of the object set.

    Raises:
        DataError: no scan where one is expected, calibration or poses or times that cannot be read.
    """
    sensor = sensor or load_sensor("kitti_hdl64e")
    openers: list[Callable[[], Clip]] = []
    for folder, kind in find_folders(path):
        if kind == "object":
            openers += [
                partial(open_object, folder, file, sensor) for file in scan_files(folder / "velodyne", folder.name)
            ]
        else:
            open_one = {"raw": open_raw, "sequence": open_sequence, "bare": open_bare}[kind]
            openers.append(partial(open_one, folder, sensor))
    return open_each(openers, on_error)
