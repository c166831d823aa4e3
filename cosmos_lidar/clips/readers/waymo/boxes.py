"""Boxes of Waymo Open v1: ``laser_labels`` of ``Frame`` records, read when they are first asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from cosmos_lidar.clips.boxes import NO_BOXES, Boxes, RecordedBoxes
from cosmos_lidar.clips.protobuf import FileSource, Message
from cosmos_lidar.clips.readers.waymo.frames import Frame
from cosmos_lidar.errors import DataError

KINDS_BY_NUMBER = {1: "vehicle", 2: "person", 3: "sign", 4: "cyclist"}  # of label.proto
_NUMBERS = {"center_x": 1, "center_y": 2, "center_z": 3, "length": 5, "width": 4, "height": 6, "heading": 7}


@dataclass(frozen=True)
class LabeledBoxes:
    """``boxes`` of a segment: those of its frames, about the middle of each.

    Attributes:
        path: of the file.
        clip_id: for messages.
        frames: that have labels, in the order of time.
        times_us: (F,) int64, middle of each.
    """

    path: Path
    clip_id: str
    frames: tuple[Frame, ...]
    times_us: np.ndarray

    def __call__(self, time_us: int) -> Boxes:
        """Return the boxes at a time.

        Raises:
            DataError: a label is broken.
        """
        return self._recorded(time_us)

    @cached_property
    def _recorded(self) -> RecordedBoxes:
        try:
            with FileSource(self.path) as source:
                return RecordedBoxes(self.times_us, [self._moment(source, frame) for frame in self.frames])
        except DataError as error:
            raise error.at(file=self.path, clip=self.clip_id) from error

    def _moment(self, source: FileSource, frame: Frame) -> Boxes:
        message = Message(source, *frame.place, f"record {frame.record}: Frame", self.path)
        rows: list[list[float]] = []
        kinds: list[str] = []
        tracks: list[str] = []
        for label in message.messages(6, "laser_labels"):
            box = label.message(1, "box")
            if box is not None:
                rows.append([box.double(number, name) or 0.0 for name, number in _NUMBERS.items()])
                kinds.append(KINDS_BY_NUMBER.get(label.integer(3, "type") or 0, "other"))
                tracks.append(label.text(4, "id") or f"{frame.record}.{len(tracks)}")
        if not rows:
            return NO_BOXES
        values = np.array(rows)
        if not np.isfinite(values).all() or (values[:, 3:6] < 0).any():
            wanted = "finite boxes of sizes from 0 on"
            raise DataError("a box that is none", key=f"{message.name}.laser_labels", wanted=wanted)
        poses = np.tile(np.eye(4), (len(values), 1, 1))
        poses[:, :3, :3] = Rotation.from_euler("z", values[:, 6:]).as_matrix()
        poses[:, :3, 3] = values[:, :3]
        return Boxes(frame.world_SE3_ego @ poses, values[:, 3:6], tuple(kinds), tuple(tracks))
