"""Boxes of PhysicalAI-AV: ``CLIP.obstacle.offline.parquet``, one row per object and time, tracks at times of their own.

Columns: ``timestamp_us``, ``track_id``, ``label_class``, ``center_x …``, ``size_x …`` (length, width, height, meters)
and ``orientation_x … w``, in the axes ``rig`` of the vehicle at the time of the row. Where ``reference_frame`` and
``reference_frame_timestamp_us`` are there, they must be these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from cosmos_lidar.clips.box_rows import BoxRows, TrackedBoxes, box_poses
from cosmos_lidar.clips.boxes import NO_BOXES, Boxes, kind_of
from cosmos_lidar.clips.parquet import numbers, read_columns
from cosmos_lidar.clips.spans import FileSpan
from cosmos_lidar.errors import DataError

_TIME, _TRACK, _CLASS = "timestamp_us", "track_id", "label_class"
_CENTER, _SIZE = (tuple(f"{name}_{axis}" for axis in "xyz") for name in ("center", "size"))
_TURN = tuple(f"orientation_{part}" for part in "wxyz")
_FRAME, _FRAME_TIME = "reference_frame", "reference_frame_timestamp_us"
OBSTACLES = ("obstacle.offline", "obstacle")  # features that hold them
_KINDS = {"stroller": "person"}


@dataclass(frozen=True)
class ObstacleBoxes:
    """``boxes`` of a clip, read when they are first asked for.

    Attributes:
        source: the table.
        clip_id: for messages.
        world_SE3_ego: times (R,) in microseconds -> poses (R, 4, 4) of the vehicle.
    """

    source: FileSpan
    clip_id: str
    world_SE3_ego: Callable[[np.ndarray], np.ndarray]

    def __call__(self, time_us: int) -> Boxes:
        """Return the boxes at a time.

        Raises:
            DataError: the table is broken, or its boxes are in other axes.
        """
        return NO_BOXES if self._tracked is None else self._tracked(time_us)

    @cached_property
    def _tracked(self) -> TrackedBoxes | None:
        names = (_TIME, _TRACK, _CLASS, *_CENTER, *_SIZE, *_TURN)
        found = read_columns(self.source, (*names, _FRAME, _FRAME_TIME), self.clip_id)
        missing = [name for name in names if name not in found]
        if missing:
            raise self._error("no such column", missing[0], f"the columns {', '.join(names)}")
        self._check_axes(found)
        times = numbers(found[_TIME], np.int64, _TIME, self.source, self.clip_id)
        if not len(times):
            return None
        centers, sizes, turns = (self._columns(found, some) for some in (_CENTER, _SIZE, _TURN))
        kinds = [_KINDS.get(str(name), kind_of(str(name))) for name in found[_CLASS]]
        try:
            poses = self.world_SE3_ego(times) @ box_poses(turns, centers)
            return TrackedBoxes(BoxRows(times, poses, sizes, kinds, [str(track) for track in found[_TRACK]]))
        except ValueError as error:
            raise self._error(str(error), "center, size, orientation", "finite boxes, unit quaternions") from error

    def _check_axes(self, found: dict[str, list[Any]]) -> None:
        odd = next((name for name in found.get(_FRAME, ()) if name != "rig"), None)
        if odd is not None:
            raise self._error(f"boxes in axes {odd!r:.40}", _FRAME, "rig")
        if _FRAME_TIME in found and found[_FRAME_TIME] != found[_TIME]:
            raise self._error("axes of other times than those of the boxes", _FRAME_TIME, _TIME)

    def _columns(self, found: dict[str, list[Any]], names: tuple[str, ...]) -> np.ndarray:
        columns = [numbers(found[name], np.float64, name, self.source, self.clip_id) for name in names]
        return np.stack(columns, 1)

    def _error(self, problem: str, key: str, wanted: str) -> DataError:
        return DataError(problem, file=self.source.path, clip=self.clip_id, key=key, wanted=wanted)
