"""nuScenes: the scenes of the ``v1.0-*`` tables, or any folder of ``LIDAR_TOP`` ``.pcd.bin`` files.

Points are float32 x y z intensity ring (despite the name no PCD files) in axes x **right**, y **forward**, z up. They
are turned here into x forward, y left, z up: (x, y, z) becomes (y, -x, z), and poses are turned along.

The stamp of a sweep is its end (20 Hz: the start is 50 ms earlier, or the end of the sweep before), and its points have
been moved to where the vehicle was at that stamp: points of the first firing shift with their range, those of the last
do not. This reader moves them on to the start of the sweep, as :class:`~cosmos_lidar.clips.clip.Clip` wants
motion-compensated points. Without tables there are no poses, and points stay as they are.

Labels are those of nuScenes-lidarseg (classes 0 to 31, the numbers of ``category.json``), and of nuScenes-panoptic the
instances, and the classes where lidarseg has none; key frames have them where their files are on disk. Rings count from
the lowest laser. Boxes are those of key frames. Not read: times of points (the dataset has none), radars, maps.

Key frames (``samples``, 2 Hz) and the sweeps between them (``sweeps``) make one sequence; sweeps whose files have not
been downloaded are left out and counted in the notes. Without tables, an info file of mmdetection3d beside the folders
holds intrinsics and poses of the cameras of key frames.
"""

from __future__ import annotations

from pathlib import Path

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.readers._each import OnError
from cosmos_lidar.clips.readers.nuscenes.bare import open_bare, point_files
from cosmos_lidar.clips.readers.nuscenes.scenes import open_tables
from cosmos_lidar.clips.readers.nuscenes.sweeps import LIDAR
from cosmos_lidar.clips.readers.nuscenes.tables import table_folders
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

DESCRIPTION = "nuScenes with its v1.0-* tables, or a folder of its .pcd.bin files"
EXAMPLE_LAYOUT = """
v1.0-mini/scene.json, v1.0-mini/sample.json, v1.0-mini/sample_data.json
v1.0-mini/ego_pose.json, v1.0-mini/calibrated_sensor.json, v1.0-mini/sensor.json
v1.0-mini/lidarseg.json, v1.0-mini/panoptic.json                                      (optional)
v1.0-mini/sample_annotation.json, v1.0-mini/instance.json, v1.0-mini/category.json    (optional)
samples/LIDAR_TOP/<log>__LIDAR_TOP__<microseconds>.pcd.bin
sweeps/LIDAR_TOP/<log>__LIDAR_TOP__<microseconds>.pcd.bin                             (optional)
samples/CAM_FRONT/<log>__CAM_FRONT__<microseconds>.jpg, …                             (optional)

LIDAR_TOP/<log>__LIDAR_TOP__<microseconds>.pcd.bin
"""
ASSUMED = "float32 x y z intensity ring, x right, y forward, z up, of a 32-beam lidar at 20 Hz, moved to the sweep end"

CLASS_NAMES = dict(enumerate((
    "noise", "animal", "adult", "child", "construction worker", "personal mobility", "police officer", "stroller",
    "wheelchair", "barrier", "debris", "pushable or pullable", "traffic cone", "bicycle rack", "bicycle", "bendy bus",
    "rigid bus", "car", "construction vehicle", "ambulance", "police vehicle", "motorcycle", "trailer", "truck",
    "driveable surface", "other flat", "sidewalk", "terrain", "manmade", "other static", "vegetation", "ego vehicle",
)))  # fmt: skip


def recognise(path: Path) -> Strength:
    """Return EXACT for tables and for point files with the names that nuScenes gives them, GENERIC for others."""
    tables = table_folders(path)
    if tables:
        # TruckScenes has tables of the same names, other sensors and its point clouds in true PCD files.
        others = any((folder / "ego_motion_cabin.json").is_file() for folder in tables)
        return Strength.NONE if others else Strength.EXACT
    files = point_files(path)
    if not files:
        return Strength.NONE
    return Strength.EXACT if f"__{LIDAR}__" in files[0].name else Strength.GENERIC


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return one clip per scene of the tables; without tables one per log and uninterrupted stretch of file stamps.

    Raises:
        DataError: tables that are missing, broken or do not fit together, or none of whose sweeps is on disk.
    """
    sensor = sensor or load_sensor("nuscenes_hdl32e")
    tables = table_folders(path)
    if len(tables) > 1:
        names = ", ".join(folder.name for folder in tables)
        raise DataError(f"more than one set of tables: {names}", file=path, wanted="the path of one of them")
    return open_tables(tables[0], sensor, on_error) if tables else open_bare(path, sensor)
