"""A folder of clouds per clip, with stamps, poses, sensor and facts beside them, as the reader ``folder`` takes it.

::

    CLIP/000000.ply, …       one file per sweep of the main lidar, of all returns
    CLIP/timestamps.csv      timestamp_us, end_us and, of points compensated to another time, reference_us
    CLIP/poses.csv           timestamp_us tx ty tz qx qy qz qw of the lidar, at starts and ends of sweeps
    CLIP/sensor.yaml         the beams
    CLIP/lidar.json          name, motion_compensated, ego_SE3_lidar

Fields are x y z (float32), intensity (float32), ring (uint16), time_us (int32), label (uint16), instance (uint32) and
return_number (uint8), each where the sweep has it; nothing is rounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cosmos_lidar.clips.blocks import block_size, blocks
from cosmos_lidar.clips.clip import Clip, LidarStream
from cosmos_lidar.clips.files import natural_key
from cosmos_lidar.clips.poses import quaternion_of
from cosmos_lidar.clips.sweep import Sweep, to_points
from cosmos_lidar.clips.writers._contract import Losses, Progress, Written
from cosmos_lidar.clips.writers._motion import once_per_time
from cosmos_lidar.clips.writers._staged import Staged

HOLDS = frozenset(("points", "intensity", "labels", "instance", "time_us", "ring", "returns")) | frozenset(
    ("names", "sensor", "frame_ids", "times", "poses", "reference", "mounting")
)
FIELDS = {"intensity": "intensity", "ring": "ring", "time_us": "time_us", "labels": "label", "instance": "instance",
          "returns": "return_number"}  # fmt: skip


def fields_of(cloud: Sweep) -> dict[str, np.ndarray]:
    """Return name -> (N,) little-endian values of a sweep of points."""
    points = np.zeros((0, 3), np.float32) if cloud.points is None else cloud.points
    columns = {axis: points[:, place] for place, axis in enumerate("xyz")}
    columns |= {field: value for name, field in FIELDS.items() if (value := getattr(cloud, name)) is not None}
    return {name: values.astype(values.dtype.newbyteorder("<"), copy=False) for name, values in columns.items()}


def records_of(fields: dict[str, np.ndarray]) -> np.dtype:
    """Return the dtype of a record of fields, packed without gaps."""
    return np.dtype([(name, values.dtype) for name, values in fields.items()])


def fill_table(table: np.ndarray, fields: dict[str, np.ndarray]) -> np.ndarray:
    """Return records (N,) that hold the values of fields."""
    for name, values in fields.items():
        table[name] = values
    return table


def write_records(out: BinaryIO, fields: dict[str, np.ndarray]) -> None:
    """Write the records of fields to a file, some at a time."""
    count = len(fields["x"])
    table = np.empty(min(count, block_size(count)), records_of(fields))
    for part in blocks(count):
        rows = table[: part.stop - part.start]
        out.write(fill_table(rows, {name: values[part] for name, values in fields.items()}).data)


def write_clouds(
    clip: Clip, folder: Path, progress: Progress, extension: str, write: Callable[[Path, Sweep], None]
) -> Written:
    """Write the main lidar of a clip as a folder of clouds.

    Args:
        clip: what to write.
        folder: of the dataset.
        progress: called after each sweep.
        extension: of the files of clouds, such as ``.ply``.
        write: writes a sweep of points to a file.

    Raises:
        DataError: the clip has no lidar or cannot be read, or the folder cannot be written.
    """
    lidar, losses = clip.lidar, Losses(clip, HOLDS)
    names, empty = file_names(lidar, losses), 0
    with Staged(folder, clip.clip_id) as staged:
        place = staged.folder(clip.clip_id)
        for index, name in enumerate(names):
            empty += not _write_cloud(place / f"{name}{extension}", lidar, index, losses, write)
            progress(1)
        if empty:
            losses.add("points", "sweeps without a return are files of 0 points, which the reader refuses as damaged")
        write_beside(place, lidar)
        files = staged.files
    return Written(len(lidar), files, losses.found)


def _write_cloud(
    file: Path, lidar: LidarStream, index: int, losses: Losses, write: Callable[[Path, Sweep], None]
) -> int:
    """Write a sweep and return its points; nothing of it is in memory when the next one is read."""
    sweep = losses.see(lidar.read(index))
    if sweep.range_m is not None:
        losses.add("range_image", "pixels become points, which sensor.yaml projects back")
    cloud = to_points(sweep, lidar.sensor)
    write(file, cloud)
    return 0 if cloud.points is None else len(cloud.points)


def write_beside(place: Path, lidar: LidarStream) -> None:
    """Write stamps, poses, beams and facts of a lidar into the folder of its sweeps.

    Layouts of range maps, whose points are where the lidar saw them, give it without motion compensation.
    """
    (place / "timestamps.csv").write_text(_times(lidar), encoding="utf-8")
    if lidar.world_SE3_lidar is not None:
        (place / "poses.csv").write_text(pose_table(lidar.timestamps_us, lidar.world_SE3_lidar), encoding="utf-8")
    (place / "sensor.yaml").write_text(lidar.sensor.to_yaml(), encoding="utf-8")
    (place / "lidar.json").write_text(_facts(lidar), encoding="utf-8")


def file_names(lidar: LidarStream, losses: Losses) -> list[str]:
    """Return the names of files: frame ids where they are names in their own order, else numbers."""
    names = list(lidar.frame_ids)
    plain = all(re.fullmatch(r"[A-Za-z0-9][\w-]*", name) for name in names)
    if plain and len(set(names)) == len(names) and names == sorted(names, key=natural_key):
        return names
    losses.add("frame_ids", "replaced by numbers")
    return [f"{number:06d}" for number in range(len(names))]


def _times(lidar: LidarStream) -> str:
    columns = {"timestamp_us": lidar.timestamps_us[:, 0], "end_us": lidar.timestamps_us[:, 1]}
    if lidar.reference_us is not None:
        columns["reference_us"] = lidar.reference_us
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return "".join(f"{','.join(map(str, row))}\n" for row in (tuple(columns), *rows))


def pose_table(times_us: np.ndarray, world_SE3_body: np.ndarray) -> str:
    """Return rows ``timestamp_us tx ty tz qx qy qz qw`` of poses (N, …, 4, 4) at times (N, …), by time.

    Of starts and ends of sweeps, (N, 2), that are one time, the pose of the start counts.
    """
    times, poses = once_per_time(times_us, world_SE3_body)
    quaternions = quaternion_of(poses[:, :3, :3])[:, [1, 2, 3, 0]]
    rows = ["timestamp_us,tx,ty,tz,qx,qy,qz,qw"]
    for time, place, turn in zip(times.tolist(), poses[:, :3, 3].tolist(), quaternions.tolist(), strict=True):
        rows.append(",".join([str(time), *map(repr, place), *map(repr, turn)]))
    return "\n".join(rows) + "\n"


def _facts(lidar: LidarStream) -> str:
    facts = {
        "name": lidar.name,
        "motion_compensated": lidar.motion_compensated,
        "ego_SE3_lidar": None if lidar.ego_SE3_lidar is None else lidar.ego_SE3_lidar.tolist(),
    }
    return json.dumps(facts, indent=1) + "\n"
