"""Waymo Open v1: ``Frame`` records in TFRecord files, read without TensorFlow; one clip per drive segment.

Five lidars, TOP first, each with both returns. Range images stay as the lidar measured them; where they have pixel
poses (TOP), sweeps also hold the points, moved by those to where they lay at the start of the sweep, and the poses at
start and end are those of the first and last pixel of the first row. Range images of the other lidars are virtual, as
seen from the pose of the frame: their sweeps count as one moment, halfway to the next frame, whose exact time is not
recorded. A frame starts at its stamp and ends where the next one starts. Axes of lidars are turned about their z so
that x looks forward, see ``geometry.py``.

Intensity and elongation are in Waymo's units. Labels are those of 3D segmentation (classes of ``segmentation.proto``,
1 to 22, and instances), which TOP has in some frames. ``RangeImages.camera_projections`` gives the pixels of cameras
that returns were projected to. Five cameras, with lenses with distortion; stamps and poses of images are
``pose_timestamp`` and the pose of the vehicle then. Images count as one moment.

Boxes are ``laser_labels``, about the middle of each frame.

Not read: no-label zones, boxes and panoptic labels of camera images, scene flow, maps, velocities, shutter times.
Frames without range images, and lidars without any, are normal. Checksums of record contents are not verified, those
of zlib data are.
"""

from __future__ import annotations

from functools import partial
from itertools import groupby
from pathlib import Path

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.waymo.frames import read_frames
from cosmos_lidar.clips.readers.waymo.geometry import CLASS_NAMES
from cosmos_lidar.clips.readers.waymo.records import open_segment
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import visible_files
from cosmos_lidar.sensors.sensor import Sensor

__all__ = ["ASSUMED", "CLASS_NAMES", "DESCRIPTION", "EXAMPLE_LAYOUT", "open_clips", "recognise"]

DESCRIPTION = "Waymo Open Dataset v1, Frame records in .tfrecord files"
EXAMPLE_LAYOUT = """
segment-<name>_with_camera_labels.tfrecord

training/segment-<name>_with_camera_labels.tfrecord
validation/segment-<name>_with_camera_labels.tfrecord      (optional)

<name>.tfrecord                                            (generic)
"""
ASSUMED = "records of .tfrecord files are Frame messages of Waymo Open v1"


def recognise(path: Path) -> Strength:
    """Return EXACT for files named as Waymo names its segments, GENERIC for other ``.tfrecord`` files."""
    files = _files(path)
    if not files:
        return Strength.NONE
    named = all("segment-" in file.name for file in files)
    return Strength.EXACT if named else Strength.GENERIC


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return one clip per drive segment; a file usually holds one.

    Raises:
        DataError: a file that is no TFRecord, a record that is no ``Frame``, or a calibration that is missing.
    """
    clips: list[Clip] = []
    for file in _files(path):
        try:
            frames = read_frames(file)
        except DataError as error:
            if on_error is None:
                raise
            on_error(error)
            continue
        segments = [tuple(group) for _, group in groupby(frames, key=lambda frame: frame.segment)]
        clips += open_each([partial(open_segment, file, some, sensor) for some in segments], on_error)
    return clips


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix == ".tfrecord" else []
    return visible_files(path, "*.tfrecord") or visible_files(path, "*/*.tfrecord")
