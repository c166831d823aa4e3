"""DDAD and other datasets in TRI's DGP layout: scenes of one lidar cloud and pinhole pictures per key frame.

Points are in axes of the vehicle (x forward, y left, z up, origin on the road), gathered by several lidars that do not
spin; range maps are therefore those of a virtual lidar 2 m above that origin, and points are moved down by as much.
Stamps are the numbers in the file names, 1e-7 s since 1970: the ISO texts in the files read them as microseconds.
Every datum has its own pose. A cloud counts as one moment: the layout does not tell how long it took, or whether
points were moved.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, one_lidar_clip
from cosmos_lidar.clips.files import PictureFiles, clean_id
from cosmos_lidar.clips.poses import pose_from_quaternion
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

DESCRIPTION = "DDAD, and other scenes in the DGP layout, with calibrated pinhole cameras"
EXAMPLE_LAYOUT = """
scene_dataset_v1.0.json, or ddad.json                      (optional: lists the scenes)
SCENE/scene_<hash>.json, SCENE/calibration/<hash>.json
SCENE/point_cloud/LIDAR/<stamp>.npz, SCENE/rgb/CAMERA_01/<stamp>.jpg, …
"""
_LIDAR = "LIDAR"
_HEIGHT_M = 2.0  # of the virtual lidar above the vehicle's origin
_VEHICLE_SE3_LIDAR = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, _HEIGHT_M], [0, 0, 0, 1]])
_WANTED = "a scene as DGP writes it"


def recognise(path: Path) -> bool:
    """Return whether ``path`` is a scene, a folder of scenes, or a list of scenes."""
    return bool(_listed(path)[0])


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return one clip per scene that is on disk; scenes that a list names and that are not are noted.

    Raises:
        DataError: a broken scene, or none of the listed ones is on disk.
    """
    sensor = sensor or load_sensor("ddad_virtual")
    scenes, source = _listed(path)
    there = [scene for scene in scenes if scene.is_file()]
    if not there:
        raise DataError("none of its scenes is on disk", file=source, wanted=f"such as {scenes[0]}")
    missing = [str(scene.relative_to(source.parent)) for scene in scenes if not scene.is_file()]
    notes: tuple[str, ...] = ()
    if missing:
        notes = (f"{len(missing)} of {len(scenes)} scenes of {source.name} are not on disk: {missing[0]}",)
    return open_each((partial(_open_scene, scene, sensor, notes) for scene in there), on_error)


def _listed(path: Path) -> tuple[list[Path], Path]:
    """Return the scene files that belong to ``path``, and what names them."""
    if path.is_file():
        if path.suffix == ".json" and path.name.startswith("scene_dataset"):
            return _of_list(path), path
        return ([path], path) if path.suffix == ".json" and (path.parent / "point_cloud").is_dir() else ([], path)
    own = sorted(path.glob("scene_*.json")) if (path / "point_cloud").is_dir() else []
    if own:
        return own, path
    lists = sorted(path.glob("scene_dataset*.json"))
    if lists:
        return _of_list(lists[0]), lists[0]
    return [scene for scene in sorted(path.glob("*/scene_*.json")) if (scene.parent / "point_cloud").is_dir()], path


def _of_list(path: Path) -> list[Path]:
    splits = _read(path).get("scene_splits", {})
    try:
        names = [name for split in sorted(splits) for name in splits[split]["filenames"]]
    except (TypeError, KeyError) as error:
        raise DataError("no list of scenes", file=path, key="scene_splits", wanted="lists of filenames") from error
    return [path.parent / name for name in dict.fromkeys(names)]


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"not readable: {error}", file=path, wanted=_WANTED) from error
    if not isinstance(document, dict):
        raise DataError(f"holds a {type(document).__name__}", file=path, wanted=_WANTED)
    return document


@dataclass(frozen=True)
class _Clouds:
    """``read_sweep`` of a scene."""

    clip_id: str
    files: tuple[Path, ...]

    def __call__(self, index: int) -> Sweep:
        path = self.files[index]
        try:
            with np.load(path, allow_pickle=False) as file:
                values = file["data"]
            if values.ndim != 2 or values.shape[1] < 4:
                raise ValueError(f"an array of shape {values.shape}")
        except (OSError, ValueError, KeyError, EOFError) as error:
            wanted = "data, (N, 4) x y z intensity"
            raise DataError(f"not a cloud: {error}", file=path, clip=self.clip_id, wanted=wanted) from error
        points = values[:, :3].astype(np.float64) - _VEHICLE_SE3_LIDAR[:3, 3]
        return Sweep(points=points.astype(np.float32), intensity=values[:, 3].astype(np.float32))


@dataclass(frozen=True)
class _Scene:
    """A scene file: its datums by key, in the order of the samples."""

    path: Path
    clip_id: str
    samples: list[dict[str, Any]]
    data: dict[str, dict[str, Any]]

    def of(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (sensor, record) of all datums of a kind, ``point_cloud`` or ``image``."""
        for sample in self.samples:
            for key in sample["datum_keys"]:
                if key not in self.data:
                    raise DataError("datum missing", file=self.path, clip=self.clip_id, key=key, wanted=_WANTED)
                datum = self.data[key]
                if kind in datum["datum"]:
                    yield datum["id"]["name"], datum["datum"][kind]

    def file(self, record: dict[str, Any]) -> Path:
        """Return the file of a record.

        Raises:
            DataError: it is not there.
        """
        path = self.path.parent / record["filename"]
        if not path.is_file():
            raise DataError("file missing", file=path, clip=self.clip_id, wanted=f"the files of {self.path.name}")
        return path

    def stamp_us(self, record: dict[str, Any]) -> int:
        """Return microseconds of the number in a record's file name."""
        stem = Path(record["filename"]).stem
        if not stem.isdecimal():
            raise DataError("no stamp in the name", file=self.path, clip=self.clip_id, key=stem, wanted="1e-7 s")
        return int(stem) // 10

    def pose(self, record: dict[str, Any]) -> np.ndarray:
        """Return (4, 4) world_SE3_sensor of a record."""
        return _transform(record["pose"], self.path, self.clip_id)


def _transform(record: dict[str, Any], file: Path, clip: str) -> np.ndarray:
    try:
        rotation, translation = record["rotation"], record["translation"]
        pose = pose_from_quaternion([rotation[f"q{axis}"] for axis in "wxyz"], [translation[axis] for axis in "xyz"])
        if not np.isfinite(pose).all():
            raise ValueError("not finite")
    except (KeyError, TypeError, ValueError) as error:
        wanted = "rotation qw qx qy qz, translation x y z"
        raise DataError(f"no pose: {error}", file=file, clip=clip, key="pose", wanted=wanted) from error
    return pose


def _open_scene(path: Path, sensor: Sensor, notes: tuple[str, ...]) -> Clip:
    name, document = clean_id(path.parent.name), _read(path)
    try:
        scene = _Scene(path, name, document["samples"], {datum["key"]: datum for datum in document["data"]})
        clouds = [record for _, record in scene.of("point_cloud")]
        calibration = path.parent / "calibration" / f"{scene.samples[0]['calibration_key']}.json"
        if not clouds:
            raise DataError("no lidar cloud in it", file=path, clip=name, wanted=_WANTED)
        cameras = dict(_cameras(scene, _lenses(calibration, scene)))
        stamps = np.array([scene.stamp_us(record) for record in clouds], np.int64)
        files = tuple(scene.file(record) for record in clouds)
        poses = np.stack([scene.pose(record) @ _VEHICLE_SE3_LIDAR for record in clouds])
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        problem = f"not a scene: {type(error).__name__} {error}"
        raise DataError(problem, file=path, clip=name, wanted=_WANTED) from error
    frames = tuple(Path(record["filename"]).stem for record in clouds)
    times = np.stack([stamps, stamps + 1], axis=1)  # a moment; sweeps of no length at all are broken ones elsewhere
    both = np.repeat(poses[:, None], 2, axis=1)
    return one_lidar_clip(
        name, sensor, frames, times, _Clouds(name, files), path, "ddad", both, False, cameras, notes, name=_LIDAR
    )


def _lenses(path: Path, scene: _Scene) -> dict[str, tuple[dict[str, float], np.ndarray]]:
    """Return sensor -> (intrinsics, vehicle_SE3_sensor)."""
    document = _read(path)
    try:
        rows = zip(document["names"], document["intrinsics"], document["extrinsics"], strict=True)
        return {name: (lens, _transform(mount, path, scene.clip_id)) for name, lens, mount in rows}
    except (KeyError, TypeError, ValueError) as error:
        wanted = "names, intrinsics and extrinsics of the same length"
        raise DataError(f"no calibration: {error}", file=path, clip=scene.clip_id, wanted=wanted) from error


def _cameras(scene: _Scene, lenses: dict[str, Any]) -> Iterator[tuple[str, CameraStream]]:
    by_name: dict[str, list[dict[str, Any]]] = {}
    for name, record in scene.of("image"):
        by_name.setdefault(name, []).append(record)
    for name, records in sorted(by_name.items()):
        if name not in lenses:
            raise DataError("no calibration of it", file=scene.path, clip=scene.clip_id, key=name, wanted=_WANTED)
        lens, mount = lenses[name]
        size = int(records[0]["width"]), int(records[0]["height"])
        model = PinholeCamera(*(float(lens[key]) for key in ("fx", "fy", "cx", "cy")), *size)
        stamps = np.array([scene.stamp_us(record) for record in records], np.int64)
        pictures = PictureFiles(tuple(scene.file(record) for record in records), scene.clip_id)
        poses = np.stack([scene.pose(record) for record in records])
        yield name, CameraStream(name, stamps, pictures, model, poses, np.linalg.inv(_VEHICLE_SE3_LIDAR) @ mount)
