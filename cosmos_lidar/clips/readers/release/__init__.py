"""The published Cosmos lidar release: sparse range maps in tars, poses and times in ``metadata``, cameras as mp4.

A range map is stored as three arrays per sweep (row, column, range as float16: its step is 62.5 mm from 64 m on).
Sweep i is the i-th member named ``*.lidar_row.npz`` and row i of the metadata. Beyond the published files this reader
takes ``sensor.yaml`` at the root (the sensor, where it is not the 128-beam one), ``lidar_sensor_config/<clip>.json``
(the calibrated beam angles of one unit), ``pinhole_intrinsic/<clip>.tar``, in ``metadata`` the mounting
``ego_SE3_lidar`` and the name ``lidar_name``, and ``labels/<clip>.tar`` with ``.lidar_label.npz`` (classes),
``.lidar_instance.npz`` and ``.lidar_time.npz`` (microseconds after the start of the sweep), one value per stored range.

Boxes are those of ``all_object_info``, whose numbers are those of the images, or of the sweeps without cameras; lane
lines those of ``3d_lanelines``: see :mod:`~cosmos_lidar.clips.object_tables`.

Each folder ``lidars/<name>`` holds a further lidar of the same clips in the same layout, cameras excepted.
The published files have neither times of points nor second returns; the ring of a pixel is its row.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from glob import escape
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import Clip, LidarStream, one_lidar_clip
from cosmos_lidar.clips.files import clean_id
from cosmos_lidar.clips.object_tables import open_boxes, open_lane_lines
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.release.cameras import open_cameras
from cosmos_lidar.clips.readers.release.metadata import calibrate, match_frames, read_metadata, sweep_stems
from cosmos_lidar.clips.readers.release.sweeps import ReleaseSweeps
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.clips.split_files import read_list
from cosmos_lidar.clips.tar_index import TarIndex
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import visible_files
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

DESCRIPTION = "the published Cosmos lidar release, or one of its lidar/<clip>.tar files"
EXAMPLE_LAYOUT = """
metadata/<clip>.npz                          pose_list, timestamps_list, frame_indices
lidar/<clip>.tar                             <clip>.<frame>.lidar_row.npz, .lidar_col.npz, .lidar_range.npz
pose/<clip>.tar, ftheta_intrinsic/<clip>.tar, ftheta_camera_*/<clip>.mp4                     (optional)
lidar_split.lst, sensor.yaml, lidar_sensor_config/<clip>.json, labels/<clip>.tar             (optional)
lidars/<name>/lidar/<clip>.tar, lidars/<name>/metadata/<clip>.npz, lidars/<name>/sensor.yaml (optional: more lidars)
"""


def recognise(path: Path) -> Strength:
    """Return EXACT for a release folder, its ``lidar`` folder, or a tar of range maps; GENERIC for ``lidar/*.tar``."""
    if path.is_file():
        if path.suffix != ".tar":
            return Strength.NONE
        if path.parent.name == "lidar" and _has_metadata(_root(path)):
            return Strength.EXACT
        if _starts_like_a_lidar_tar(path):
            return Strength.EXACT
        return Strength.GENERIC if path.parent.name == "lidar" else Strength.NONE
    root = _root(path)
    tar = next(iter(visible_files(root / "lidar", "*.tar")), None)
    if tar is None:
        return Strength.EXACT if (root / "lidar").is_dir() and _has_metadata(root) else Strength.NONE
    return Strength.EXACT if _has_metadata(root) or _starts_like_a_lidar_tar(tar) else Strength.GENERIC


def _has_metadata(root: Path) -> bool:
    return (root / "lidar_split.lst").is_file() or bool(visible_files(root / "metadata", "*.npz"))


def _starts_like_a_lidar_tar(path: Path) -> bool:
    with path.open("rb") as file:
        return b".lidar_" in file.read(100)  # the name of the first member


def _root(path: Path) -> Path:
    if path.is_file():
        return path.parent.parent if path.parent.name == "lidar" else path.parent
    return path.parent if path.name == "lidar" and visible_files(path, "*.tar") else path


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return the clips of a release folder (those that ``lidar_split.lst`` names, where it exists), or that of one tar.

    A single tar may come without any metadata folder beside it: its sweeps then have no poses and no true times.

    Raises:
        DataError: see the fields of the message; nothing damaged is skipped.
    """
    root = _root(path)
    base = sensor or _root_sensor(root)
    if path.is_file() and not (path.parent.name == "lidar" and (root / "metadata").is_dir()):
        return open_each([partial(_open_lone_tar, path, base)], on_error)
    names = [path.name.removesuffix(".tar")] if path.is_file() else _clip_names(root)
    return open_each([partial(_open_clip, root, name, base, sensor is None) for name in names], on_error)


def _root_sensor(root: Path) -> Sensor:
    file = root / "sensor.yaml"
    return load_sensor(str(file)) if file.is_file() else load_sensor("pandar128")


def _clip_names(root: Path) -> list[str]:
    split = root / "lidar_split.lst"
    if split.is_file():
        names = read_list(split)
        if not names:
            raise DataError("the split list is empty", file=split, wanted="one clip per line")
        return list(dict.fromkeys(names))
    return sorted(file.name.removesuffix(".tar") for file in visible_files(root / "lidar", "*.tar"))


def _open_clip(root: Path, name: str, base: Sensor, calibrated: bool) -> Clip:
    main, notes = _open_lidar(root, name, base, calibrated)
    lidars = {main.name: main}
    for folder in sorted(file.parent.parent for file in visible_files(root, f"lidars/*/lidar/{escape(name)}.tar")):
        other, remarks = _open_lidar(folder, name, _root_sensor(folder), calibrated=True)
        lidars[folder.name] = replace(other, name=folder.name)
        notes += tuple(f"{folder.name}: {remark}" for remark in remarks)
    cameras = open_cameras(root, name, main.frame_ids, main.timestamps_us[:, 0])
    if cameras:
        lidars[main.name] = replace(main, image_numbers=np.array(main.frame_ids).astype(np.int64))
    first = next(iter(cameras.values()), None)
    if first is not None:
        time_of = dict(enumerate(first.timestamps_us.tolist()))
    else:
        starts = zip(main.frame_ids, main.timestamps_us[:, 0].tolist(), strict=True)
        time_of = {int(number): time for number, time in starts if number.isdecimal()}
    return Clip(
        clean_id(name), root / "lidar" / f"{name}.tar", "release", lidars, cameras, notes,
        boxes=open_boxes(root, name, time_of), lane_lines=open_lane_lines(root, name),
    )  # fmt: skip


def _open_lidar(root: Path, name: str, base: Sensor, calibrated: bool) -> tuple[LidarStream, tuple[str, ...]]:
    """Return the lidar of a clip at a root, and remarks."""
    tar_path = root / "lidar" / f"{name}.tar"
    if not tar_path.is_file():
        raise DataError("no such lidar file", file=tar_path, clip=name, wanted="one tar per clip of lidar_split.lst")
    metadata = read_metadata(root / "metadata" / f"{name}.npz", name)
    tar = TarIndex.of(tar_path, name)
    stems, notes = match_frames(tar, metadata.frame_indices, name)
    labels = TarIndex.of_clip(root / "labels", name)
    sensor = calibrate(base, root / "lidar_sensor_config" / f"{name}.json", name) if calibrated else base
    if metadata.poses is None:
        notes = (*notes, "the metadata holds no poses")
    sweeps = ReleaseSweeps(name, tar, tuple(stems), sensor.shape, labels)
    lidar = LidarStream(
        metadata.lidar,
        sensor,
        metadata.frame_ids,
        metadata.times_us,
        sweeps,
        metadata.poses,
        ego_SE3_lidar=metadata.ego_SE3_lidar,
    )
    return lidar, notes


def _open_lone_tar(path: Path, sensor: Sensor) -> Clip:
    name = path.name.removesuffix(".tar")
    tar = TarIndex.of(path, name)
    stems = sweep_stems(tar)
    if not stems:
        raise DataError("no sweep in it", file=path, clip=name, key="*.lidar_row.npz", wanted="a lidar tar")
    frame_ids = tuple(stem.rsplit(".", 1)[-1] for stem in stems)
    times = np.round(np.stack([np.arange(len(stems)), np.arange(len(stems)) + 1], 1) * 1e6 / sensor.spin_hz)
    notes = ("no metadata: no poses, and times by the usual rate",)
    sweeps = ReleaseSweeps(name, tar, tuple(stems), sensor.shape)
    times = times.astype(np.int64)
    return one_lidar_clip(clean_id(name), sensor, frame_ids, times, sweeps, path, "release", notes=notes)
