"""Tables of objects and lane lines, as :mod:`~cosmos_lidar.clips.object_tables` reads them."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable

import numpy as np

from cosmos_lidar.clips.boxes import Boxes
from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.object_tables import LINES, OBJECTS
from cosmos_lidar.clips.writers._staged import Staged
from cosmos_lidar.clips.writers._tar_members import add_bytes

_TYPES = {"vehicle": "Automobile", "person": "Person", "cyclist": "Rider", "sign": "Sign", "other": "Other"}
_MOVING_M_S = 0.2  # an object that is faster is moving


def write_objects(staged: Staged, clip: Clip, place: str, moments: Iterable[tuple[int, int]]) -> None:
    """Write ``all_object_info/CLIP.tar`` and ``3d_lanelines/CLIP.tar``, of clips that have boxes and lane lines.

    Args:
        staged: the folder.
        clip: whose boxes are asked for at the moments.
        place: of the tables' folders, empty or with a slash at its end.
        moments: number at 30 Hz and time in microseconds, each number once.
    """
    if clip.boxes is not None:
        found = [(number, time_us, clip.boxes(time_us)) for number, time_us in moments]
        with tarfile.open(staged.file(f"{place}all_object_info/{clip.clip_id}.tar"), "w") as tar:
            neighbors = found[1:2] + found  # the moment before; of the first one, the second
            for (number, time_us, boxes), (_, other_us, others) in zip(found, neighbors, strict=False):
                text = json.dumps(_table(boxes, others, abs(other_us - time_us) / 1e6))
                add_bytes(tar, f"{clip.clip_id}.{number:06d}{OBJECTS}", text.encode())
    if clip.lane_lines is not None:
        lines = [np.asarray(line, np.float64).tolist() for line in clip.lane_lines()]
        labels = [{"labelData": {"shape3d": {"polyline3d": {"vertices": line}}}} for line in lines]
        with tarfile.open(staged.file(f"{place}3d_lanelines/{clip.clip_id}.tar"), "w") as tar:
            add_bytes(tar, f"{clip.clip_id}{LINES}", json.dumps({"labels": labels}).encode())


def _table(boxes: Boxes, others: Boxes, apart_s: float) -> dict[str, object]:
    """Return the table of a moment; what moves is found by another moment, so many seconds apart."""
    there = dict(zip(others.tracks, others.world_SE3_box[:, :3, 3], strict=True))
    table: dict[str, object] = {}
    for pose, size, kind, track in zip(boxes.world_SE3_box, boxes.size_m, boxes.kinds, boxes.tracks, strict=True):
        way = np.linalg.norm(pose[:3, 3] - there.get(track, pose[:3, 3]))
        table[track] = {
            "object_to_world": pose.tolist(),
            "object_lwh": size.tolist(),
            "object_is_moving": bool(way > _MOVING_M_S * apart_s),
            "object_type": _TYPES[kind],
        }
    return table
