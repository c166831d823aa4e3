"""Scenes of the tables as clips."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, one_lidar_clip
from cosmos_lidar.clips.files import ImageFiles, PointSweeps, clean_id
from cosmos_lidar.clips.poses import interpolate_poses
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.nuscenes.boxes import ANNOTATIONS, AnnotatedBoxes
from cosmos_lidar.clips.readers.nuscenes.sweeps import (
    COLUMNS,
    LIDAR,
    OURS_R_THEIRS,
    RING_COLUMN,
    PanopticSweeps,
    sweep_times,
)
from cosmos_lidar.clips.readers.nuscenes.tables import Tables, is_there, lens, mount, pose, read_tables, sweep_rows
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.sensor import Sensor


def open_tables(folder: Path, sensor: Sensor, on_error: OnError | None) -> list[Clip]:
    """Return one clip per scene of which sweeps are on disk.

    Raises:
        DataError: broken tables, or none of their sweeps is on disk.
    """
    tables = read_tables(folder)
    scenes = [scene for scene in tables.scenes if any(is_there(tables, row) for row in sweep_rows(tables, scene))]
    if not scenes:
        file = tables.root / "sweeps" / LIDAR
        raise DataError("none of the sweeps in the tables is on disk", file=file, key="sample_data",
                        wanted="the sensor files beside the tables: samples/ and sweeps/")  # fmt: skip
    return open_each([partial(_open_scene, tables, scene, sensor) for scene in scenes], on_error)


def _open_scene(tables: Tables, scene: dict, sensor: Sensor) -> Clip:
    """Return the clip of a scene: its sweeps that are on disk."""
    rows = sweep_rows(tables, scene)
    there = [k for k, row in enumerate(rows) if is_there(tables, row)]
    name = clean_id(scene["name"])
    stamps = np.array([row["timestamp"] for row in rows], np.int64)
    times = sweep_times(stamps, sensor)[there]
    poses = np.stack([pose(tables, row, name) for row in rows])
    poses[:, :3, :3] = poses[:, :3, :3] @ OURS_R_THEIRS.T
    known, first = np.unique(stamps, return_index=True)
    ends = interpolate_poses(poses[first], known, times)
    chosen = [rows[k] for k in there]
    sweeps, notes = _read_with(tables, chosen, name, to_start=np.linalg.inv(ends[:, 0]) @ ends[:, 1])
    if len(there) < len(rows):
        notes = (f"{len(rows) - len(there)} of {len(rows)} sweeps of the tables are not on disk", *notes)
    ego_SE3_lidar = mount(tables, chosen[0], name)
    ego_SE3_lidar[:3, :3] = ego_SE3_lidar[:3, :3] @ OURS_R_THEIRS.T
    frames = tuple(str(row["timestamp"]) for row in chosen)
    cameras = dict(_cameras(tables, scene["token"], name, ego_SE3_lidar))
    clip = one_lidar_clip(name, sensor, frames, times, sweeps, tables.folder, "nuscenes", ends, True, cameras, notes,
                          name=LIDAR, ego_SE3_lidar=ego_SE3_lidar)  # fmt: skip
    labeled = (tables.folder / f"{ANNOTATIONS}.json").is_file()  # test scenes are listed without any
    return replace(clip, boxes=AnnotatedBoxes(tables.folder, scene["token"], name)) if labeled else clip


def _read_with(
    tables: Tables, rows: list[dict], clip: str, to_start: np.ndarray
) -> tuple[Callable[[int], Sweep], tuple[str, ...]]:
    """Return what reads the sweeps of these records with their labels, and a remark on labels that are not on disk."""
    files = tuple(tables.root / row["filename"] for row in rows)
    lidarseg, panoptic = (_label_files(tables, rows, listed) for listed in (tables.lidarseg, tables.panoptic))
    listed = sum((row["token"] in tables.lidarseg) + (row["token"] in tables.panoptic) for row in rows)
    missing = listed - sum(file is not None for file in (*lidarseg, *panoptic))
    notes = (f"{missing} of {listed} label files of the tables are not on disk",) if missing else ()
    classes = lidarseg if any(lidarseg) else None
    points = PointSweeps(clip, files, COLUMNS, classes, "u1", OURS_R_THEIRS, RING_COLUMN, to_start)
    return PanopticSweeps(points, panoptic) if any(panoptic) else points, notes


def _label_files(tables: Tables, rows: list[dict], listed: dict[str, str]) -> tuple[Path | None, ...]:
    files = [tables.root / listed[row["token"]] if row["token"] in listed else None for row in rows]
    return tuple(file if file is not None and file.is_file() else None for file in files)


def _cameras(tables: Tables, scene: str, clip: str, ego_SE3_lidar: np.ndarray) -> Iterator[tuple[str, CameraStream]]:
    for channel, rows in sorted(tables.data[scene].items()):
        rows = [row for row in rows if channel != LIDAR and is_there(tables, row)]
        if rows:
            times = np.array([row["timestamp"] for row in rows], np.int64)
            images = ImageFiles(tuple(tables.root / row["filename"] for row in rows), clip)
            poses = np.stack([pose(tables, row, clip) for row in rows])
            model, ego_SE3_camera = lens(tables, rows[0], clip), mount(tables, rows[0], clip)
            mounting = np.linalg.inv(ego_SE3_lidar) @ ego_SE3_camera
            yield channel, CameraStream(channel, times, images, model, poses, mounting, ego_SE3_camera)
