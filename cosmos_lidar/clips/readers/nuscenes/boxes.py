"""Boxes of nuScenes: ``sample_annotation`` of key frames, in the world, read when they are first asked for.

The table of the full set has 1.2 million records: the last one read is kept as columns, for all scenes of its folder.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.box_rows import BoxRows, box_poses, recorded_boxes
from cosmos_lidar.clips.boxes import NO_BOXES, Boxes, RecordedBoxes, kind_of
from cosmos_lidar.clips.readers.nuscenes.tables import follow, records
from cosmos_lidar.errors import DataError

ANNOTATIONS = "sample_annotation"
_KINDS = {"static_object.bicycle_rack": "other"}


@dataclass(frozen=True)
class AnnotatedBoxes:
    """``boxes`` of a scene: those of its key frames.

    Attributes:
        folder: of the tables.
        scene: token.
        clip_id: for messages.
    """

    folder: Path
    scene: str
    clip_id: str

    def __call__(self, time_us: int) -> Boxes:
        """Return the boxes at a time.

        Raises:
            DataError: a table is missing or broken.
        """
        return NO_BOXES if self._recorded is None else self._recorded(time_us)

    @cached_property
    def _recorded(self) -> RecordedBoxes | None:
        file = self.folder / f"{ANNOTATIONS}.json"
        rows = _of_folder(self.folder, file.stat().st_mtime_ns).get(self.scene)
        if rows is None:
            return None
        try:
            values = np.array(rows.values, np.float64)
            if values.ndim != 2 or values.shape[1] != 10:
                raise ValueError("translation, size and rotation of other lengths")
            poses = box_poses(values[:, 6:], values[:, :3])
            sizes = values[:, [4, 3, 5]]  # width, length, height in the table
            return recorded_boxes(BoxRows(np.array(rows.times_us, np.int64), poses, sizes, rows.kinds, rows.tracks))
        except (ValueError, TypeError) as error:
            wanted = "translation of 3, size of 3 and rotation of 4 numbers"
            raise DataError(f"no box: {error}", file=file, clip=self.clip_id, wanted=wanted) from error


class _Rows:
    """Columns of a scene."""

    def __init__(self) -> None:
        self.times_us: list[int] = []
        self.values: list[list[Any]] = []
        self.kinds: list[str] = []
        self.tracks: list[str] = []


@lru_cache(maxsize=1)
def _of_folder(folder: Path, _: int) -> dict[str, _Rows]:
    """Return scene -> columns; read again where the table has changed."""
    samples = {row["token"]: (row["scene_token"], row["timestamp"]) for row in
               records(folder, "sample", ("token", "scene_token", "timestamp"))}  # fmt: skip
    names = {row["token"]: row["name"] for row in records(folder, "category", ("token", "name"))}
    classes = {row["token"]: follow(names, row["category_token"], folder, "category") for row in
               records(folder, "instance", ("token", "category_token"))}  # fmt: skip
    found: dict[str, _Rows] = defaultdict(_Rows)
    wanted = ("sample_token", "instance_token", "translation", "size", "rotation")
    for row in records(folder, ANNOTATIONS, wanted):
        scene, time_us = follow(samples, row["sample_token"], folder, "sample")
        name = follow(classes, row["instance_token"], folder, "instance")
        rows = found[scene]
        rows.times_us.append(time_us)
        rows.values.append([*row["translation"], *row["size"], *row["rotation"]])
        rows.kinds.append(_KINDS.get(name, kind_of(name)))
        rows.tracks.append(row["instance_token"])
    return dict(found)
