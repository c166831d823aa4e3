"""Tables of objects and lane lines of the release layout, and of the multi-view guide's folder beside its videos.

``all_object_info/CLIP.tar`` has members ``CLIP.NNNNNN.all_object_info.json``, at some of the numbers that count at
30 Hz: track -> ``object_to_world`` (4, 4), ``object_lwh`` and ``object_type``. ``3d_lanelines/CLIP.tar`` has a member
``CLIP.lanelines.json``: ``labels``, whose ``labelData.shape3d.polyline3d.vertices`` are points in the world.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.boxes import NO_BOXES, Boxes, RecordedBoxes, kind_of
from cosmos_lidar.clips.tar_index import TarIndex
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import parse_json
from cosmos_lidar.sensors.rigid import rigid

OBJECTS, LINES = ".all_object_info.json", ".lanelines.json"
_LARGEST = 64 << 20  # bytes of a member


@dataclass(frozen=True)
class TarMoments(Sequence[Boxes]):
    """Boxes at the moments of a table, each read when it is asked for."""

    tar: TarIndex
    names: tuple[str, ...]
    clip: str

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, place: Any) -> Any:
        """Return the boxes of a moment.

        Raises:
            DataError: the member is no such table.
        """
        name = self.names[place]
        document = _read(self.tar, name, self.clip)
        try:
            objects = {str(track): one for track, one in document.items()}
            poses = np.array([one["object_to_world"] for one in objects.values()], np.float64)
            sizes = np.array([one["object_lwh"] for one in objects.values()], np.float64)
            kinds = tuple(kind_of(str(one.get("object_type", ""))) for one in objects.values())
            if objects and (poses.shape[1:] != (4, 4) or sizes.shape[1:] != (3,) or not all(map(rigid, poses))):
                raise ValueError(f"poses of shape {poses.shape}, sizes of shape {sizes.shape}")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            wanted = "track -> object_to_world, object_lwh, object_type"
            raise DataError(f"no objects: {error!r:.120}", file=self.tar.path, clip=self.clip, key=name,
                            wanted=wanted) from error  # fmt: skip
        return Boxes(poses, sizes, kinds, tuple(objects)) if objects else NO_BOXES


@dataclass(frozen=True)
class LaneTable:
    """``lane_lines`` of a clip."""

    tar: TarIndex
    name: str
    clip: str

    def __call__(self) -> list[np.ndarray]:
        """Return the lines, (P, 3) float64 meters in the world each.

        Raises:
            DataError: the member is no such table.
        """
        document = _read(self.tar, self.name, self.clip)
        try:
            shapes = [label["labelData"]["shape3d"] for label in document["labels"]]
            lines = [np.array(shape["polyline3d"]["vertices"], np.float64) for shape in shapes if "polyline3d" in shape]
            if any(line.ndim != 2 or line.shape[1] != 3 or not np.isfinite(line).all() for line in lines):
                raise ValueError("vertices that are no finite (P, 3) points")
        except (KeyError, TypeError, ValueError) as error:
            wanted = "labels with labelData.shape3d.polyline3d.vertices"
            raise DataError(f"no lines: {error!r:.120}", file=self.tar.path, clip=self.clip, key=self.name,
                            wanted=wanted) from error  # fmt: skip
        return lines


def open_boxes(root: Path, clip: str, time_of: Mapping[int, int]) -> RecordedBoxes | None:
    """Return the boxes of a clip; None where there is no table, or none of its numbers has a time.

    Args:
        root: folder of the tables.
        clip: as the files are named.
        time_of: number at 30 Hz -> microseconds.

    Raises:
        DataError: a broken tar, or members without a number.
    """
    tar = TarIndex.of_clip(root / "all_object_info", clip)
    names: dict[int, str] = {}
    for name in () if tar is None else tar.members:
        number = name.removesuffix(OBJECTS).rsplit(".", 1)[-1]
        if not name.endswith(OBJECTS) or not number.isdecimal():
            assert tar is not None
            raise DataError("no table of objects", file=tar.path, clip=clip, key=name, wanted=f"CLIP.NNNNNN{OBJECTS}")
        if int(number) in time_of:
            names[time_of[int(number)]] = name
    if tar is None or not names:
        return None
    times = np.array(sorted(names), np.int64)
    return RecordedBoxes(times, TarMoments(tar, tuple(names[time] for time in times.tolist()), clip))


def open_lane_lines(root: Path, clip: str) -> Callable[[], list[np.ndarray]] | None:
    """Return what reads the lane lines of a clip; None where there is no table.

    Raises:
        DataError: a broken tar, or no table in it.
    """
    tar = TarIndex.of_clip(root / "3d_lanelines", clip)
    if tar is None:
        return None
    name = next((name for name in tar.members if name.endswith(LINES)), None)
    if name is None:
        raise DataError("no table of lane lines", file=tar.path, clip=clip, wanted=f"a member CLIP{LINES}")
    return LaneTable(tar, name, clip)


def _read(tar: TarIndex, name: str, clip: str) -> Any:
    try:
        return parse_json(tar.read(name, clip, _LARGEST))
    except ValueError as error:
        raise DataError(f"not JSON: {error}", file=tar.path, clip=clip, key=name, wanted="JSON") from error
