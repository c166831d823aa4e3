"""Boxes of Argoverse 2: ``annotations.feather``, at the moments of the sweeps, in axes of the vehicle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.box_rows import BoxRows, box_poses, recorded_boxes
from cosmos_lidar.clips.boxes import Boxes, RecordedBoxes, kind_of
from cosmos_lidar.clips.feather import read_feather
from cosmos_lidar.errors import DataError

_SIZE = ("length_m", "width_m", "height_m")
_TURN, _PLACE = ("qw", "qx", "qy", "qz"), ("tx_m", "ty_m", "tz_m")


@dataclass(frozen=True)
class AnnotatedBoxes:
    """``boxes`` of a log, read when they are first asked for.

    Attributes:
        file: ``annotations.feather``.
        clip_id: for messages.
        city_SE3_ego: times (K,) in microseconds -> poses (K, 4, 4) of the vehicle.
    """

    file: Path
    clip_id: str
    city_SE3_ego: Callable[[np.ndarray], np.ndarray]

    def __call__(self, time_us: int) -> Boxes:
        """Return the boxes at a time.

        Raises:
            DataError: the table is broken, or a time is far from all poses.
        """
        return self._recorded(time_us)

    @cached_property
    def _recorded(self) -> RecordedBoxes:
        kinds = {"timestamp_ns": "integer", "track_uuid": "text", "category": "text"}
        kinds |= dict.fromkeys((*_SIZE, *_TURN, *_PLACE), "number")
        columns = read_feather(self.file, kinds, self.clip_id)
        sizes, turns, places = (
            np.stack([columns[name].astype(np.float64) for name in names], -1) for names in (_SIZE, _TURN, _PLACE)
        )
        times = columns["timestamp_ns"].astype(np.int64) // 1000
        if not len(times):
            raise DataError("no box in it", file=self.file, clip=self.clip_id, wanted="boxes, or no such file")
        moments, back = np.unique(times, return_inverse=True)
        poses = self.city_SE3_ego(moments)[back]
        try:
            own = box_poses(turns, places)
            rows = BoxRows(times, poses @ own, sizes, _kinds(columns["category"]), columns["track_uuid"].tolist())
        except ValueError as error:
            wanted = "unit quaternions, finite meters"
            raise DataError(str(error), file=self.file, clip=self.clip_id, wanted=wanted) from error
        return recorded_boxes(rows)


def _kinds(categories: np.ndarray) -> list[str]:
    """Return the kinds of classes; a sign for pedestrians is a sign."""
    return ["sign" if name.endswith("SIGN") else kind_of(name) for name in categories.tolist()]
