"""Argoverse 2: logs of the Sensor, Lidar and Map Change (TbV) datasets, with both lidars and up to nine cameras.

One file holds the points of both lidars, in the axes of the vehicle at the moment in the file's name (nanoseconds), to
which they have been moved by the motion of the vehicle (published as ``egovehicle reference timestamp``; checked: only
moved back from there do the azimuths of a laser advance in equal steps). This reader divides them by ``laser_number``
(0 to 31 ``up_lidar``, 32 to 63 ``down_lidar``; checked by the elevations of the lasers, not published), and moves them
into the axes of their lidar at the start of its sweep. The lower lidar hangs upside down: its axes are turned by half a
turn about x, so that z is up in both.

A sweep of a lidar starts a few milliseconds after the moment in the name, at the constants below, which are those of a
recorded log; other logs differ by a packet or so (0.7 ms). ``time_us`` of each point is exact. The two lidars turn in
the same direction, half a turn apart. Which elevation a laser number has differs between logs: ``ring`` is the number
in the file and no row. Coordinates are float16: 8 mm at 10 m, 3 cm at 50 m.

Images are stored without distortion (published); k1, k2 and k3 of ``intrinsics.feather`` belong to the lenses before
and are not used. Poses are those of the vehicle, ``city_SE3_egovehicle``, interpolated.
Boxes are those of ``annotations.feather``. Not read: flow labels, maps. The format has no semantic class per point.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.av2.log import open_log
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.files import visible
from cosmos_lidar.sensors.sensor import Sensor

DESCRIPTION = "Argoverse 2 sensor, lidar and map change logs: two lidars, nine cameras, poses"
EXAMPLE_LAYOUT = """
LOG/sensors/lidar/0<nanoseconds>.feather, LOG/calibration/egovehicle_SE3_sensor.feather
LOG/city_SE3_egovehicle.feather, LOG/annotations.feather                              (optional)
LOG/calibration/intrinsics.feather                                                    (optional)
LOG/sensors/cameras/ring_front_center/<nanoseconds>.jpg, …                            (optional)

sensor/val/LOG/sensors/lidar/0<nanoseconds>.feather, …      also below train, test, lidar, tbv
sensor/val/LOG/calibration/egovehicle_SE3_sensor.feather
"""
_SPLITS = ("train", "val", "test", "trainval")
_SETS = ("sensor", "lidar", "tbv")
_PLACES = (
    ("",), ("*",), tuple(f"{split}/*" for split in _SPLITS), tuple(f"{kind}/*" for kind in _SETS),
    tuple(f"{kind}/{split}/*" for kind in _SETS for split in _SPLITS),
)  # fmt: skip


def recognise(path: Path) -> Strength:
    """Return EXACT where ``path`` is a log, a file or folder in one, or a folder of logs."""
    return Strength.EXACT if _find_logs(path) else Strength.NONE


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return one clip per log.

    Raises:
        DataError: calibration or poses that are missing or cannot be read, no sweep in a log.
        UserError: pyarrow is not installed.
    """
    return open_each((partial(open_log, log, sensor) for log in _find_logs(path)), on_error)


def _find_logs(path: Path) -> list[Path]:
    for above in (path, *path.parents[:3]):
        if above.name == "sensors" and _is_log(above.parent):
            return [above.parent]
    if not path.is_dir():
        return []
    for patterns in _PLACES:
        found = [path] if patterns == ("",) else [log for pattern in patterns for log in visible(path, pattern)]
        logs = [log for log in found if _is_log(log)]
        if logs:
            return logs
    return []


def _is_log(path: Path) -> bool:
    lidar = path / "sensors" / "lidar"
    return lidar.is_dir() and next(lidar.glob("[0-9]*.feather"), None) is not None
