"""``lidar.json`` beside clouds: name, mounting and motion compensation of the lidar."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.bounds import read_file
from cosmos_lidar.clips.files import clean_id
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import parse_json
from cosmos_lidar.sensors.rigid import pose_of_file

FACTS = "lidar.json"
_LARGEST = 1 << 16
_WANTED = "an object with name (text), motion_compensated (true or false), ego_SE3_lidar (4 rows of 4 numbers)"


@dataclass(frozen=True)
class LidarFacts:
    """What a folder states about its lidar.

    Attributes:
        name: of the lidar.
        motion_compensated: points lie where they were at one time of their sweep.
        ego_SE3_lidar: (4, 4) mounting, or None.
    """

    name: str = "lidar"
    motion_compensated: bool = False
    ego_SE3_lidar: np.ndarray | None = None


def read_facts(file: Path, clip: str) -> LidarFacts:
    """Return the facts of a file; the defaults where there is none.

    Raises:
        DataError: no JSON, or values of other kinds.
    """
    if not file.is_file():
        return LidarFacts()
    try:
        found = parse_json(read_file(file, "facts of a lidar", _LARGEST, clip))
    except (OSError, ValueError) as error:
        raise DataError(f"not readable: {error!s:.120}", file=file, clip=clip, wanted=_WANTED) from error
    if not isinstance(found, dict):
        raise DataError("no object", file=file, clip=clip, wanted=_WANTED)
    name, compensated = found.get("name", "lidar"), found.get("motion_compensated", False)
    for key, value, kind in (("name", name, str), ("motion_compensated", compensated, bool)):
        if not isinstance(value, kind):
            raise DataError(f"{value!r:.40}", file=file, clip=clip, key=key, wanted=_WANTED)
    mounting = found.get("ego_SE3_lidar")
    if mounting is not None:
        mounting = pose_of_file(mounting, file, "ego_SE3_lidar", "lidar axes to axes of the vehicle")
    return LidarFacts(clean_id(name), compensated, mounting)
