"""SemanticKITTI: sequences of KITTI odometry with a semantic class and an instance per point.

Scans, axes, calibration, cameras and the reference of motion compensation are those of KITTI odometry (see
:mod:`cosmos_lidar.clips.readers.kitti`, whose code reads them). Of the two pose files that a sequence may have, that of
SemanticKITTI itself is taken, ``sequences/NN/poses.txt`` (of the left gray camera, by SuMa++), before KITTI's
``poses/NN.txt``. Labels keep the numbers of the dataset: class in the lower 16 bits, instance in the upper ones.

Recognized by ``labels/`` below a sequence; sequences without (11 to 21) are read where others beside them have labels,
or where the format is named. Not read: the voxels of the completion task, moving-object labels of other folders.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.kitti.scans import find_folders, has_labels, has_tags
from cosmos_lidar.clips.readers.kitti.scans import strength_of as strength_as_kitti
from cosmos_lidar.clips.readers.kitti.sequences import open_sequence
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

DESCRIPTION = "SemanticKITTI: KITTI odometry sequences with labels/"
EXAMPLE_LAYOUT = """
sequences/08/velodyne/000000.bin, sequences/08/labels/000000.label                            also below dataset/
sequences/08/calib.txt, sequences/08/times.txt, sequences/08/poses.txt                        (optional)
sequences/08/image_2/000000.png, sequences/11/velodyne/000000.bin                             (optional)
"""

CLASS_NAMES = {
    0: "unlabeled", 1: "outlier", 10: "car", 11: "bicycle", 13: "bus", 15: "motorcycle", 16: "on rails", 18: "truck",
    20: "other vehicle", 30: "person", 31: "bicyclist", 32: "motorcyclist", 40: "road", 44: "parking", 48: "sidewalk",
    49: "other ground", 50: "building", 51: "fence", 52: "other structure", 60: "lane marking", 70: "vegetation",
    71: "trunk", 72: "terrain", 80: "pole", 81: "traffic sign", 99: "other object", 252: "moving car",
    253: "moving bicyclist", 254: "moving person", 255: "moving motorcyclist", 256: "moving on rails",
    257: "moving bus", 258: "moving truck", 259: "moving other vehicle",
}  # fmt: skip


def recognise(path: Path) -> Strength:
    """Return EXACT where a sequence has labels, GENERIC for sequences of KITTI without, NONE where points have tags."""
    folders = [folder for folder, kind in find_folders(path)[:32] if kind == "sequence"]
    if any(has_tags(folder) for folder in folders):
        return Strength.NONE  # SemanticPOSS
    if any(has_labels(folder) for folder in folders):
        return Strength.EXACT
    named = any(strength_as_kitti(folder, "sequence") == Strength.EXACT for folder in folders)
    return Strength.GENERIC if named else Strength.NONE


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return one clip per sequence.

    Raises:
        DataError: no scan in a sequence; calibration, poses or times that cannot be read.
    """
    sensor = sensor or load_sensor("kitti_hdl64e")
    folders = [folder for folder, kind in find_folders(path) if kind == "sequence"]
    return open_each((partial(open_sequence, folder, sensor, "semantickitti") for folder in folders), on_error)
