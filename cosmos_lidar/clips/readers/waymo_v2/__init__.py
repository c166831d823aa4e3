"""Waymo Open v2: Parquet components per drive segment, which give the same clips as the records of v1.

Of a segment ``vehicle_pose`` is needed; ``lidar`` needs ``lidar_calibration``, ``camera_image`` needs
``camera_calibration``; the others may be missing. What is read, and what is not, and axes, units and times, are as
:mod:`~cosmos_lidar.clips.readers.waymo` has them, but for the poses of TOP at start and end of a sweep: pixel poses lie
deep inside ``lidar_pose`` and move its points when a sweep is read, while start and end are interpolated between the
poses of the images (each has its time), without ``camera_image`` between those of the frames, taken to be of the middle
of their sweeps. Points are the same in the world. Without ``lidar_pose`` there are range images alone.

Sweeps of one lidar are best read in their order: a row group is decoded from its start. Needs the extra ``parquet``.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.waymo.geometry import CLASS_NAMES
from cosmos_lidar.clips.readers.waymo_v2.components import open_segment
from cosmos_lidar.clips.readers.waymo_v2.layout import find_segments
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.sensors.sensor import Sensor

__all__ = ["CLASS_NAMES", "DESCRIPTION", "EXAMPLE_LAYOUT", "open_clips", "recognise"]

DESCRIPTION = "Waymo Open Dataset v2, Parquet components"
EXAMPLE_LAYOUT = """
vehicle_pose/<segment>.parquet
lidar/<segment>.parquet, lidar_calibration/<segment>.parquet, lidar_pose/<segment>.parquet           (optional)
lidar_segmentation/<segment>.parquet, lidar_camera_projection/<segment>.parquet                      (optional)
lidar_box/<segment>.parquet                                                                          (optional)
camera_image/<segment>.parquet, camera_calibration/<segment>.parquet                                 (optional)

training/vehicle_pose/<segment>.parquet
training/lidar/<segment>.parquet, training/lidar_calibration/<segment>.parquet                       (optional)
"""


def recognise(path: Path) -> Strength:
    """Return EXACT for folders of components with Parquet files, and for those files."""
    return Strength.EXACT if find_segments(path) else Strength.NONE


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return one clip per drive segment.

    Raises:
        DataError: a component that is needed is missing, or one is broken.
        UserError: pyarrow is not installed.
    """
    return open_each((partial(open_segment, files, sensor) for files in find_segments(path)), on_error)
