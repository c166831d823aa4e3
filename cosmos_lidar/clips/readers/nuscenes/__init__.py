"""nuScenes: the scenes of the ``v1.0-*`` tables, or any folder of ``LIDAR_TOP`` ``.pcd.bin`` files.

Points are float32 x y z intensity ring (despite the name no PCD files) in axes x **right**, y **forward**, z up. They
are turned here into x forward, y left, z up: (x, y, z) becomes (y, -x, z), and poses are turned along.

The stamp of a sweep is its end (20 Hz: the start is 50 ms earlier, or the end of the sweep before), and its points have
been moved to where the vehicle was at that stamp: points of the first firing shift with their range, those of the last
do not. This reader moves them on to the start of the sweep, as :class:`~cosmos_lidar.clips.clip.Clip` wants
motion-compensated points. Without tables there are no poses, and points stay as they are.

Key frames (``samples``, 2 Hz) and the sweeps between them (``sweeps``) make one sequence; sweeps whose files have not
been downloaded are left out and counted in the notes. Without tables, an info file of mmdetection3d beside the folders
tells lens and place of the cameras of key frames.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, one_lidar_clip
from cosmos_lidar.clips.files import PictureFiles, PointSweeps, clean_id
from cosmos_lidar.clips.poses import interpolate_poses, pose_from_quaternion
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.nuscenes.infos import Infos, info_cameras, read_infos
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

DESCRIPTION = "nuScenes with its v1.0-* tables, or a folder of its .pcd.bin files"
EXAMPLE_LAYOUT = """
v1.0-mini/scene.json, sample.json, sample_data.json, ego_pose.json, calibrated_sensor.json, sensor.json
samples/LIDAR_TOP/*.pcd.bin, sweeps/LIDAR_TOP/*.pcd.bin, samples/CAM_FRONT/*.jpg, …
FOLDER/<log>__LIDAR_TOP__<microseconds>.pcd.bin
"""
_LIDAR = "LIDAR_TOP"
_COLUMNS = 5
_OURS_R_THEIRS = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
_LONGEST_PAUSE_US = 5_000_000
_CHUNK = 1 << 20
_LONGEST_RECORD = 1 << 24
_BETWEEN_RECORDS = re.compile(r"[\[,\s]*")


def recognise(path: Path) -> bool:
    """Return whether ``path`` holds nuScenes tables or ``.pcd.bin`` files, or is one of either."""
    return bool(_table_folders(path)) or bool(_point_files(path))


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return one clip per scene of the tables; without tables one per log and uninterrupted stretch of file stamps.

    Raises:
        DataError: tables that are missing, broken or do not fit together, or none of whose sweeps is on disk.
    """
    sensor = sensor or load_sensor("nuscenes_hdl32e")
    tables = _table_folders(path)
    if len(tables) > 1:
        names = ", ".join(folder.name for folder in tables)
        raise DataError(f"more than one set of tables: {names}", file=path, wanted="the path of one of them")
    return _open_tables(tables[0], sensor, on_error) if tables else _open_bare(path, sensor)


def _table_folders(path: Path) -> list[Path]:
    if path.is_file():
        return []
    return [folder for folder in [path, *sorted(path.glob("v1.0-*"))] if (folder / "sample_data.json").is_file()]


def _point_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.name.endswith(".pcd.bin") else []
    places = (path, path / "samples" / _LIDAR, path / "sweeps" / _LIDAR, path / _LIDAR)
    return [file for place in places for file in sorted(place.glob("*.pcd.bin"))]


# ---------------------------------------------------------------------------------------------------- without tables


def _open_bare(path: Path, sensor: Sensor) -> list[Clip]:
    logs: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for file in _point_files(path):
        stem = file.name.removesuffix(".pcd.bin")
        log, _, stamp = stem.rpartition(f"__{_LIDAR}__")
        if not stamp.isdecimal():
            raise DataError("no stamp in the file name", file=file, wanted=f"<log>__{_LIDAR}__<microseconds>.pcd.bin")
        logs[log or path.resolve().name].append((int(stamp), file))
    infos, notes = _infos(path)
    return [
        clip
        for log, stamped in logs.items()
        for clip in _stretches(clean_id(log), sorted(stamped), path, sensor, infos, notes)
    ]


def _infos(path: Path) -> tuple[dict[Path, Infos], tuple[str, ...]]:
    """Return what info files say, by file, and remarks on those that cannot be read."""
    infos, notes = {}, ["no tables: no poses, and cameras only where an info file tells of them"]
    for file in sorted(path.glob("*.pkl")) if path.is_dir() else []:
        try:
            infos[file] = read_infos(file)
        except DataError as error:
            notes.append(f"{file.name} is passed over: {error.problem}")
    return infos, tuple(notes)


def _stretches(
    log: str,
    stamped: list[tuple[int, Path]],
    path: Path,
    sensor: Sensor,
    infos: dict[Path, Infos],
    notes: tuple[str, ...],
) -> list[Clip]:
    """Return one clip per stretch of a log without a pause of 5 s: scenes are cut out of logs that go on for hours."""
    stamps = np.array([stamp for stamp, _ in stamped])
    cuts = np.flatnonzero(np.diff(stamps) > _LONGEST_PAUSE_US) + 1
    clips = []
    for number, chosen in enumerate(np.split(np.arange(len(stamped)), cuts)):
        name = log if not len(cuts) else f"{log}_{number:03d}"
        files = tuple(stamped[k][1] for k in chosen)
        sweeps = PointSweeps(name, files, _COLUMNS, sensor_R_file=_OURS_R_THEIRS)
        frames = tuple(str(stamp) for stamp in stamps[chosen])
        cameras = {}
        for file, entries in infos.items():
            cameras |= info_cameras(entries, file, files, name, _OURS_R_THEIRS)
        times = _sweep_times(stamps[chosen], sensor)
        clips.append(one_lidar_clip(name, sensor, frames, times, sweeps, path, "nuscenes", motion_compensated=True,
                                    cameras=cameras, notes=notes, name=_LIDAR))  # fmt: skip
    return clips


def _sweep_times(end_us: np.ndarray, sensor: Sensor) -> np.ndarray:
    """Return (N, 2): a sweep starts where the one before ended, or one revolution before its end after a pause."""
    spin = round(1e6 / sensor.spin_hz)
    start = end_us - spin
    before = np.concatenate([start[:1], end_us[:-1]])
    start = np.where(np.abs(before - start) < 0.3 * spin, before, start)
    return np.stack([start, end_us], -1).astype(np.int64)


# ------------------------------------------------------------------------------------------------------- with tables


@dataclass(frozen=True)
class _Tables:
    """The records that clips are made of; ``data``: scene token -> channel -> records of sample_data in time order."""

    root: Path
    folder: Path
    scenes: list[dict]
    data: dict[str, dict[str, list[dict]]]
    ego: dict[str, dict]
    mounts: dict[str, dict]
    labels: dict[str, str]


def _open_tables(folder: Path, sensor: Sensor, on_error: OnError | None) -> list[Clip]:
    tables = _read_tables(folder)
    scenes = [scene for scene in tables.scenes if any(_there(tables, row) for row in _sweeps(tables, scene))]
    if not scenes:
        file = tables.root / "sweeps" / _LIDAR
        raise DataError("none of the sweeps in the tables is on disk", file=file, key="sample_data",
                        wanted="the sensor files beside the tables: samples/ and sweeps/")  # fmt: skip
    return open_each([partial(_open_scene, tables, scene, sensor) for scene in scenes], on_error)


def _sweeps(tables: _Tables, scene: dict) -> list[dict]:
    return tables.data.get(scene["token"], {}).get(_LIDAR, [])


def _there(tables: _Tables, row: dict) -> bool:
    return (tables.root / row["filename"]).is_file()


def _read_tables(folder: Path) -> _Tables:
    scenes = list(_records(folder, "scene", ("token", "name")))
    scene_of = {row["token"]: row["scene_token"] for row in _records(folder, "sample", ("token", "scene_token"))}
    channels = {row["token"]: row["channel"] for row in _records(folder, "sensor", ("token", "channel"))}
    mounts = {row["token"]: row for row in _records(folder, "calibrated_sensor", ("token", "sensor_token", "rotation"))}
    data: dict[str, dict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
    wanted = ("token", "sample_token", "ego_pose_token", "calibrated_sensor_token", "timestamp", "filename")
    for row in _records(folder, "sample_data", wanted):
        mount = _follow(mounts, row["calibrated_sensor_token"], folder, "calibrated_sensor")
        channel = _follow(channels, mount["sensor_token"], folder, "sensor")
        if channel == _LIDAR or channel.startswith("CAM_"):
            scene = _follow(scene_of, row["sample_token"], folder, "sample")
            data[scene][channel].append({key: row[key] for key in (*wanted, "width", "height") if key in row})
    for channels_of_scene in data.values():
        for rows in channels_of_scene.values():
            rows.sort(key=lambda row: row["timestamp"])
    used = {row["ego_pose_token"] for one in data.values() for rows in one.values() for row in rows}
    ego = {
        r["token"]: r for r in _records(folder, "ego_pose", ("token", "rotation", "translation")) if r["token"] in used
    }
    labels = {}
    if (folder / "lidarseg.json").is_file():
        rows = _records(folder, "lidarseg", ("sample_data_token", "filename"))
        labels = {row["sample_data_token"]: row["filename"] for row in rows}
    return _Tables(folder.parent, folder, scenes, data, ego, mounts, labels)


def _records(folder: Path, table: str, keys: tuple[str, ...]) -> Iterator[dict]:
    """Yield the records of a table one by one: sample_data of the full set has 2.6 million, too many to hold."""
    file = folder / f"{table}.json"
    if not file.is_file():
        raise DataError("missing table", file=file, wanted=f"{table}.json of the v1.0 tables")
    decoder, rest, at = json.JSONDecoder(), "", 0
    with file.open(encoding="utf-8") as source:
        while (chunk := source.read(_CHUNK)) and len(rest) - at < _LONGEST_RECORD:
            rest, at = rest[at:] + chunk, 0
            while True:
                at = _BETWEEN_RECORDS.match(rest, at).end()
                try:
                    record, at = decoder.raw_decode(rest, at)
                except ValueError:
                    break  # the list ends here, or the record goes on in the next chunk
                yield _checked(record, keys, file)
    if rest[at:].strip() != "]":
        found = rest[at : at + 40].strip() or "end of file"
        raise DataError("the table is cut off or no JSON list", file=file, key=found, wanted="a complete table")


def _checked(record: dict, keys: tuple[str, ...], file: Path) -> dict:
    missing = [key for key in keys if key not in record] if isinstance(record, dict) else list(keys)
    if missing:
        raise DataError("record without it", file=file, key=missing[0], wanted=f"records with {', '.join(keys)}")
    return record


def _follow(table: dict, token: str, folder: Path, name: str) -> dict | str:
    if token not in table:
        raise DataError(
            "no such record", file=folder / f"{name}.json", key=token, wanted="the tables of one and the same version"
        )
    return table[token]


def _open_scene(tables: _Tables, scene: dict, sensor: Sensor) -> Clip:
    """Return the clip of a scene: its sweeps that are on disk."""
    rows = _sweeps(tables, scene)
    there = [k for k, row in enumerate(rows) if _there(tables, row)]
    name = clean_id(scene["name"])
    stamps = np.array([row["timestamp"] for row in rows], np.int64)
    times = _sweep_times(stamps, sensor)[there]
    poses = np.stack([_pose(tables, row, name) for row in rows])
    poses[:, :3, :3] = poses[:, :3, :3] @ _OURS_R_THEIRS.T
    known, first = np.unique(stamps, return_index=True)
    ends = interpolate_poses(poses[first], known, times)
    chosen = [rows[k] for k in there]
    labels = tuple(tables.root / tables.labels[r["token"]] if r["token"] in tables.labels else None for r in chosen)
    files, to_start = tuple(tables.root / row["filename"] for row in chosen), np.linalg.inv(ends[:, 0]) @ ends[:, 1]
    sweeps = PointSweeps(name, files, _COLUMNS, labels if any(labels) else None, "u1", _OURS_R_THEIRS, to_start)
    missing = len(rows) - len(there)
    notes = (f"{missing} of {len(rows)} sweeps of the tables are not on disk",) if missing else ()
    lidar = _mount(tables, chosen[0], name)
    lidar[:3, :3] = lidar[:3, :3] @ _OURS_R_THEIRS.T
    frames = tuple(str(row["timestamp"]) for row in chosen)
    cameras = dict(_cameras(tables, scene["token"], name, lidar))
    return one_lidar_clip(name, sensor, frames, times, sweeps, tables.folder, "nuscenes", ends, True, cameras, notes,
                          name=_LIDAR, ego_SE3_lidar=lidar)  # fmt: skip


def _mount(tables: _Tables, row: dict, clip: str) -> np.ndarray:
    """Return ego_SE3_sensor of a record of sample_data."""
    mount = tables.mounts[row["calibrated_sensor_token"]]
    return _transform(mount, tables.folder / "calibrated_sensor.json", clip)


def _pose(tables: _Tables, row: dict, clip: str) -> np.ndarray:
    """Return world_SE3_sensor of a record of sample_data, in the dataset's axes of the sensor."""
    ego = _follow(tables.ego, row["ego_pose_token"], tables.folder, "ego_pose")
    return _transform(ego, tables.folder / "ego_pose.json", clip) @ _mount(tables, row, clip)


def _transform(record: dict, file: Path, clip: str) -> np.ndarray:
    try:
        pose = pose_from_quaternion([float(v) for v in record["rotation"]], [float(v) for v in record["translation"]])
        if not np.isfinite(pose).all():
            raise ValueError("not finite")
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"no pose: {error}", file=file, clip=clip, key=record.get("token"), wanted="rotation w x y z, translation"
        ) from error
    return pose


def _cameras(tables: _Tables, scene: str, clip: str, ego_SE3_lidar: np.ndarray) -> Iterator[tuple[str, CameraStream]]:
    for channel, rows in sorted(tables.data[scene].items()):
        rows = [row for row in rows if channel != _LIDAR and _there(tables, row)]
        if rows:
            times = np.array([row["timestamp"] for row in rows], np.int64)
            pictures = PictureFiles(tuple(tables.root / row["filename"] for row in rows), clip)
            poses = np.stack([_pose(tables, row, clip) for row in rows])
            mounting = np.linalg.inv(ego_SE3_lidar) @ _mount(tables, rows[0], clip)
            yield channel, CameraStream(channel, times, pictures, _lens(tables, rows[0], clip), poses, mounting)


def _lens(tables: _Tables, row: dict, clip: str) -> PinholeCamera:
    record = tables.mounts[row["calibrated_sensor_token"]]
    try:
        matrix = np.array(record["camera_intrinsic"], np.float64).reshape(3, 3)
        size = int(row["width"]), int(row["height"])
        return PinholeCamera(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], *size)
    except (KeyError, ValueError, TypeError, DataError) as error:
        file = tables.folder / "calibrated_sensor.json"
        raise DataError(f"no lens: {error}", file=file, clip=clip, key=record["token"],
                        wanted="camera_intrinsic of 3 x 3 numbers") from error  # fmt: skip
