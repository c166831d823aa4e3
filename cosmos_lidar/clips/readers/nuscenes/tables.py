"""The ``v1.0-*`` tables of nuScenes."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cosmos_lidar.clips.poses import pose_from_quaternion
from cosmos_lidar.clips.readers.nuscenes.sweeps import LIDAR
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import visible
from cosmos_lidar.sensors.pinhole import PinholeCamera

_Record = TypeVar("_Record")
_CHUNK = 1 << 20
_LONGEST_RECORD = 1 << 24
_BETWEEN_RECORDS = re.compile(r"[\[,\s]*")
_KINDS = {"timestamp": int, "rotation": list, "translation": list, "size": list}  # of the others: str


def table_folders(path: Path) -> list[Path]:
    """Return the folders of tables: ``path`` itself, or its folders ``v1.0-*``."""
    if path.is_file():
        return []
    return [folder for folder in [path, *visible(path, "v1.0-*")] if (folder / "sample_data.json").is_file()]


@dataclass(frozen=True)
class Tables:
    """The records that clips are made of.

    Attributes:
        root: folder of the sensor files.
        folder: of the tables.
        scenes: records of the scenes.
        data: scene token -> channel -> records of sample_data in the order of time.
        ego: ego_pose records by token.
        mounts: calibrated_sensor records by token.
        lidarseg: token of sample_data -> file of semantic classes.
        panoptic: token of sample_data -> file of classes and instances.
    """

    root: Path
    folder: Path
    scenes: list[dict]
    data: dict[str, dict[str, list[dict]]]
    ego: dict[str, dict]
    mounts: dict[str, dict]
    lidarseg: dict[str, str]
    panoptic: dict[str, str]


def sweep_rows(tables: Tables, scene: dict) -> list[dict]:
    """Return the sample_data records of the lidar of a scene."""
    return tables.data.get(scene["token"], {}).get(LIDAR, [])


def is_there(tables: Tables, row: dict) -> bool:
    """Return whether the file of a sample_data record is on disk."""
    return (tables.root / row["filename"]).is_file()


def read_tables(folder: Path) -> Tables:
    """Read the tables of a folder.

    Raises:
        DataError: a table is missing or broken, or refers to a record that is not there.
    """
    scenes = list(records(folder, "scene", ("token", "name")))
    scene_of = {row["token"]: row["scene_token"] for row in records(folder, "sample", ("token", "scene_token"))}
    channels = {row["token"]: row["channel"] for row in records(folder, "sensor", ("token", "channel"))}
    mounts = {row["token"]: row for row in records(folder, "calibrated_sensor", ("token", "sensor_token", "rotation"))}
    data: dict[str, dict[str, list[dict]]] = defaultdict(lambda: defaultdict(list))
    wanted = ("token", "sample_token", "ego_pose_token", "calibrated_sensor_token", "timestamp", "filename")
    for row in records(folder, "sample_data", wanted):
        mount = follow(mounts, row["calibrated_sensor_token"], folder, "calibrated_sensor")
        channel = follow(channels, mount["sensor_token"], folder, "sensor")
        if channel == LIDAR or channel.startswith("CAM_"):
            scene = follow(scene_of, row["sample_token"], folder, "sample")
            data[scene][channel].append({key: row[key] for key in (*wanted, "width", "height") if key in row})
    for channels_of_scene in data.values():
        for rows in channels_of_scene.values():
            rows.sort(key=lambda row: row["timestamp"])
    used = {row["ego_pose_token"] for one in data.values() for rows in one.values() for row in rows}
    ego = {
        r["token"]: r for r in records(folder, "ego_pose", ("token", "rotation", "translation")) if r["token"] in used
    }
    lidarseg, panoptic = (_label_files(folder, table) for table in ("lidarseg", "panoptic"))
    return Tables(folder.parent, folder, scenes, data, ego, mounts, lidarseg, panoptic)


def _label_files(folder: Path, table: str) -> dict[str, str]:
    if not (folder / f"{table}.json").is_file():
        return {}
    rows = records(folder, table, ("sample_data_token", "filename"))
    return {row["sample_data_token"]: row["filename"] for row in rows}


def records(folder: Path, table: str, keys: tuple[str, ...]) -> Iterator[dict]:
    """Yield the records of a table one by one: sample_data of the full set has 2.6 million, too many to hold.

    Raises:
        DataError: the table is missing or broken, or a record lacks a key.
    """
    file = folder / f"{table}.json"
    if not file.is_file():
        raise DataError("missing table", file=file, wanted=f"{table}.json of the v1.0 tables")
    try:
        yield from (_checked(record, keys, file) for record in _decoded(file))
    except UnicodeDecodeError as error:
        raise DataError(f"not readable: {error}", file=file, wanted="a table in UTF-8") from error


def _decoded(file: Path) -> Iterator[Any]:
    decoder, rest, at = json.JSONDecoder(), "", 0
    with file.open(encoding="utf-8") as source:
        while (chunk := source.read(_CHUNK)) and len(rest) - at < _LONGEST_RECORD:
            rest, at = rest[at:] + chunk, 0
            while True:
                between = _BETWEEN_RECORDS.match(rest, at)
                at = at if between is None else between.end()
                try:
                    record, at = decoder.raw_decode(rest, at)
                except ValueError:
                    break  # the list ends here, or the record continues in the next chunk
                except RecursionError as error:
                    raise DataError("nested too deeply", file=file, wanted="a table of the v1.0 tables") from error
                yield record
    if rest[at:].strip() != "]":
        found = rest[at : at + 40].strip() or "end of file"
        raise DataError("the table is cut off or no JSON list", file=file, key=found, wanted="a complete table")


def _checked(record: Any, keys: tuple[str, ...], file: Path) -> dict:
    missing = [key for key in keys if key not in record] if isinstance(record, dict) else list(keys)
    if missing:
        raise DataError("record without it", file=file, key=missing[0], wanted=f"records with {', '.join(keys)}")
    for key in keys:
        kind = _KINDS.get(key, str)
        if not isinstance(record[key], kind) or isinstance(record[key], bool):
            problem = f"{record[key]!r:.40} in record {record.get('token')!r:.40}"
            raise DataError(problem, file=file, key=key, wanted=f"a value of type {kind.__name__}")
    return record


def follow(table: dict[str, _Record], token: str, folder: Path, name: str) -> _Record:
    """Return the record that a token of another table refers to.

    Raises:
        DataError: there is none.
    """
    if token not in table:
        raise DataError(
            "no such record", file=folder / f"{name}.json", key=token, wanted="the tables of one and the same version"
        )
    return table[token]


def mount(tables: Tables, row: dict, clip: str) -> np.ndarray:
    """Return ego_SE3_sensor of a record of sample_data."""
    mount = tables.mounts[row["calibrated_sensor_token"]]
    return _transform(mount, tables.folder / "calibrated_sensor.json", clip)


def pose(tables: Tables, row: dict, clip: str) -> np.ndarray:
    """Return world_SE3_sensor of a record of sample_data, in the dataset's axes of the sensor."""
    ego = follow(tables.ego, row["ego_pose_token"], tables.folder, "ego_pose")
    return _transform(ego, tables.folder / "ego_pose.json", clip) @ mount(tables, row, clip)


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


def lens(tables: Tables, row: dict, clip: str) -> PinholeCamera:
    """Return the lens of a camera's sample_data record.

    Raises:
        DataError: there is none.
    """
    record = tables.mounts[row["calibrated_sensor_token"]]
    try:
        matrix = np.array(record["camera_intrinsic"], np.float64).reshape(3, 3)
        size = int(row["width"]), int(row["height"])
        return PinholeCamera(matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], *size)
    except (KeyError, ValueError, TypeError, DataError) as error:
        file = tables.folder / "calibrated_sensor.json"
        raise DataError(f"no lens: {error}", file=file, clip=clip, key=record["token"],
                        wanted="camera_intrinsic of 3 x 3 numbers") from error  # fmt: skip
