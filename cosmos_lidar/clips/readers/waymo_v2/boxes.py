"""Boxes of Waymo Open v2: the component ``lidar_box``, in axes of the vehicle, read when they are first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from cosmos_lidar.clips.box_rows import BoxRows, recorded_boxes
from cosmos_lidar.clips.boxes import NO_BOXES, Boxes, RecordedBoxes
from cosmos_lidar.clips.parquet import numbers, read_columns
from cosmos_lidar.clips.readers.waymo.boxes import KINDS_BY_NUMBER
from cosmos_lidar.clips.spans import FileSpan
from cosmos_lidar.errors import DataError

_PART = "[LiDARBoxComponent]"
_TIME, _TRACK, _TYPE = "key.frame_timestamp_micros", "key.laser_object_id", f"{_PART}.type"
_CENTER = tuple(f"{_PART}.box.center.{axis}" for axis in "xyz")
_SIZE = tuple(f"{_PART}.box.size.{axis}" for axis in "xyz")
_HEADING = f"{_PART}.box.heading"


@dataclass(frozen=True)
class ComponentBoxes:
    """``boxes`` of a segment: those of its frames, about the middle of each.

    Attributes:
        path: of the component.
        clip_id: for messages.
        frames_us: (F,) int64 times that name the frames, increasing.
        middles_us: (F,) int64, middle of each.
        world_SE3_ego: (F, 4, 4), the vehicle.
    """

    path: Path
    clip_id: str
    frames_us: np.ndarray
    middles_us: np.ndarray
    world_SE3_ego: np.ndarray

    def __call__(self, time_us: int) -> Boxes:
        """Return the boxes at a time.

        Raises:
            DataError: the component is broken, or has a frame that ``vehicle_pose`` lacks.
        """
        return NO_BOXES if self._recorded is None else self._recorded(time_us)

    @cached_property
    def _recorded(self) -> RecordedBoxes | None:
        names = (_TIME, _TRACK, _TYPE, *_CENTER, *_SIZE, _HEADING)
        found = read_columns(FileSpan(self.path), names, self.clip_id)
        missing = [name for name in names if name not in found]
        if missing:
            raise self._error("no such column", missing[0], "a v2 component")
        times = self._numbers(found, _TIME, np.int64)
        if not len(times):
            return None
        frames = np.searchsorted(self.frames_us, times).clip(0, len(self.frames_us) - 1)
        unknown = np.flatnonzero(self.frames_us[frames] != times)
        if len(unknown):
            raise self._error(f"no vehicle_pose at {times[unknown[0]]} us", _TIME, "frames of both components")
        poses = np.tile(np.eye(4), (len(times), 1, 1))
        headings = self._numbers(found, _HEADING, np.float64)
        poses[:, :3, :3] = Rotation.from_euler("z", headings[:, None]).as_matrix()
        poses[:, :3, 3] = np.stack([self._numbers(found, name, np.float64) for name in _CENTER], 1)
        sizes = np.stack([self._numbers(found, name, np.float64) for name in _SIZE], 1)
        kinds = [KINDS_BY_NUMBER.get(number, "other") for number in self._numbers(found, _TYPE, np.int64).tolist()]
        tracks = [str(track) for track in found[_TRACK]]
        try:
            rows = BoxRows(self.middles_us[frames], self.world_SE3_ego[frames] @ poses, sizes, kinds, tracks)
        except ValueError as error:
            raise self._error(str(error), f"{_PART}.box", "finite boxes of sizes from 0 on") from error
        return recorded_boxes(rows)

    def _numbers(self, found: dict[str, list[Any]], name: str, dtype: type) -> np.ndarray:
        return numbers(found[name], dtype, name, FileSpan(self.path), self.clip_id)

    def _error(self, problem: str, key: str, wanted: str) -> DataError:
        return DataError(problem, file=self.path, clip=self.clip_id, key=key, wanted=wanted)
