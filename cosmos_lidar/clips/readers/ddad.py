"""DDAD and other datasets in TRI's DGP layout: scenes of lidar clouds and pinhole images per key frame.

In DDAD points are in axes of the vehicle (x forward, y left, z up, origin on the road), gathered by several lidars that
do not spin; range maps are therefore those of a virtual lidar 2 m above that origin, and points are moved down by as
much. The same goes for every cloud whose calibration is the identity; other clouds stay in the axes of their lidar.
Several lidars of a scene are lidars of the clip, by their names.

``point_format`` lists the values of a point: intensity, ring, class and instance are read. Not read: colors,
normals and times of points (of unknown unit), annotation files but the boxes of the first lidar, depth maps.
Stamps are the numbers in the file names, 1e-7 s since 1970: the ISO texts in the files read them as microseconds,
which is a finding of the clip.
Every datum has its own pose. A cloud counts as one moment: the layout does not record how long it took, or whether
points were moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.arrays import open_npz_member, read_npz, row_blocks
from cosmos_lidar.clips.blocks import block_size, select
from cosmos_lidar.clips.boxes import NO_BOXES, Boxes, RecordedBoxes, kind_of
from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.files import FARTHEST_M, ImageFiles, clean_id, has_return, refuse_far
from cosmos_lidar.clips.finding import Finding
from cosmos_lidar.clips.poses import pose_from_quaternion
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.clips.sweep import RETURN_VALUES, Sweep
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import read_json_object, visible_files
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

DESCRIPTION = "DDAD, and other scenes in the DGP layout, with calibrated pinhole cameras"
EXAMPLE_LAYOUT = """
SCENE/scene_<hash>.json, SCENE/calibration/<hash>.json
SCENE/point_cloud/LIDAR/<stamp>.npz, SCENE/rgb/CAMERA_01/<stamp>.jpg, …
scene_dataset_v1.0.json, ddad.json                         (optional: each lists the scenes)
"""
_HEIGHT_M = 2.0  # of the virtual lidar above the vehicle's origin
_FORMAT = ("X", "Y", "Z", "INTENSITY")
_COLUMNS = {"intensity": "INTENSITY", "ring": "RING", "labels": "CLASS_ID", "instance": "INSTANCE_ID"}
_BOXES_3D = "1"  # number of the kind of annotation
_WANTED = "a scene as DGP writes it"


def recognise(path: Path) -> Strength:
    """Return EXACT where ``path`` is a scene, a folder of scenes, or a list of scenes."""
    lists, scenes = _named(path)
    return Strength.EXACT if lists or scenes else Strength.NONE


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
    lists, scenes = _named(path)
    return (_of_list(lists[0]), lists[0]) if lists else (scenes, path)


def _named(path: Path) -> tuple[list[Path], list[Path]]:
    """Return the lists of scenes at ``path``, or the scenes where there is no list, by the names of the files."""
    if path.is_file():
        if path.suffix != ".json":
            return [], []
        return ([path], []) if _is_list(path) else ([], [path] if _has_clouds(path) else [])
    own = [scene for scene in visible_files(path, "scene_*.json") if _has_clouds(scene)]
    if own:
        return [], own
    lists = [file for file in visible_files(path, "*.json") if _is_list(file)]
    return lists, [] if lists else [scene for scene in visible_files(path, "*/scene_*.json") if _has_clouds(scene)]


def _is_list(file: Path) -> bool:
    return file.name.startswith("scene_dataset") or file.name == "ddad.json"


def _has_clouds(scene: Path) -> bool:
    return (scene.parent / "point_cloud").is_dir()


def _of_list(path: Path) -> list[Path]:
    splits = _read(path).get("scene_splits", {})
    try:
        names = [name for split in sorted(splits) for name in splits[split]["filenames"]]
    except (TypeError, KeyError) as error:
        raise DataError("no list of scenes", file=path, key="scene_splits", wanted="lists of filenames") from error
    return [path.parent / name for name in dict.fromkeys(names)]


def _read(path: Path) -> dict[str, Any]:
    return read_json_object(path, "a text file", _WANTED)


@dataclass(frozen=True)
class _Clouds:
    """``read`` of a lidar of a scene.

    Attributes:
        clip_id: for messages.
        files: one per sweep.
        format: names of the columns.
        height_m: points are moved down by this.
    """

    clip_id: str
    files: tuple[Path, ...]
    format: tuple[str, ...]
    height_m: float

    def __call__(self, index: int) -> Sweep:
        path = self.files[index]
        try:
            with open_npz_member(path, "data") as found:
                shape, dtype = found.shape, found.dtype
                if len(shape) != 2 or shape[1] < len(self.format) or dtype.kind not in "fiu":
                    raise DataError(f"an array of shape {shape}, {dtype}")
                if not shape[0]:
                    wanted = f"(N, {len(self.format)}) values"
                    raise DataError("no point in it", file=path, clip=self.clip_id, wanted=wanted)
                return self._sweep(shape[0], row_blocks(found, block_size(shape[0])), path)
        except DataError as error:
            if error.clip:
                raise
            wanted = f"data, (N, {len(self.format)}) {' '.join(self.format).lower()}"
            problem = f"not a cloud: {error.problem}"
            raise DataError(problem, file=path, clip=self.clip_id, wanted=wanted) from error

    def _sweep(self, count: int, parts: Iterator[np.ndarray], path: Path) -> Sweep:
        points, filled, far = np.empty((count, 3), np.float32), 0, False
        columns = {name: self.format.index(column) for name, column in _COLUMNS.items() if column in self.format}
        read: dict[str, Any] = {name: np.empty(count, RETURN_VALUES[name]) for name in columns}
        for rows in parts:
            rows = select(rows, has_return(rows))
            part = slice(filled, filled + len(rows))
            for axis, height_m in enumerate((0.0, 0.0, self.height_m)):
                np.subtract(rows[:, axis], height_m, out=points[part, axis], casting="unsafe")
            for name, column in columns.items():
                read[name][part] = rows[:, column].astype(RETURN_VALUES[name])
            own = points[part]
            far = far or bool(len(own) and not -FARTHEST_M < own.min() <= own.max() < FARTHEST_M)
            filled = part.stop
        if far:
            values = read_npz(path, ["data"])["data"]
            refuse_far(select(values, has_return(values)), path, self.clip_id)
        held: dict[str, Any] = {name: values[:filled] for name, values in read.items()}
        return Sweep(points=points[:filled], without_return=count - filled, **held)


@dataclass(frozen=True)
class _Scene:
    """A scene file: its datums by key, in the order of the samples."""

    path: Path
    clip_id: str
    samples: list[dict[str, Any]]
    data: dict[str, dict[str, Any]]

    def by_sensor(self, kind: str) -> dict[str, list[dict[str, Any]]]:
        """Return sensor -> records of all datums of a kind, ``point_cloud`` or ``image``, in the order of samples."""
        found: dict[str, list[dict[str, Any]]] = {}
        for sample in self.samples:
            for key in sample["datum_keys"]:
                if key not in self.data:
                    raise DataError("datum missing", file=self.path, clip=self.clip_id, key=key, wanted=_WANTED)
                datum = self.data[key]
                if kind in datum["datum"]:
                    found.setdefault(datum["id"]["name"], []).append(datum["datum"][kind])
        return found

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
        calibration = path.parent / "calibration" / f"{scene.samples[0]['calibration_key']}.json"
        lenses = _lenses(calibration, scene)
        lidars, cameras = _lidars(scene, lenses, sensor), dict(_cameras(scene, lenses, calibration))
        findings = tuple(_contradictions(scene))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        problem = f"not a scene: {type(error).__name__} {error}"
        raise DataError(problem, file=path, clip=name, wanted=_WANTED) from error
    lidar_SE3_ego = np.linalg.inv(np.asarray(next(iter(lidars.values())).ego_SE3_lidar))
    mounted = {
        key: replace(one, lidar_SE3_camera=lidar_SE3_ego @ np.asarray(one.ego_SE3_camera))
        for key, one in cameras.items()
    }
    return Clip(name, path, "ddad", lidars, mounted, notes, findings, _boxes(scene, document))


@dataclass(frozen=True)
class _Boxes:
    """``boxes`` of a scene, read when first asked for.

    Attributes:
        clip_id: for messages.
        times_us: of the clouds that boxes belong to.
        files: annotations of each.
        poses: (K, 4, 4) world_SE3_sensor of each.
        ontology: names of the classes; None where the scene has none.
    """

    clip_id: str
    times_us: np.ndarray
    files: tuple[Path, ...]
    poses: np.ndarray
    ontology: Path | None

    def __call__(self, time_us: int) -> Boxes:
        return self._recorded(time_us)

    @cached_property
    def _recorded(self) -> RecordedBoxes:
        names = {} if self.ontology is None else {
            int(item["id"]): str(item["name"]) for item in _read(self.ontology).get("items", [])
        }  # fmt: skip
        moments = [self._moment(file, pose, names) for file, pose in zip(self.files, self.poses, strict=True)]
        return RecordedBoxes(self.times_us, moments)

    def _moment(self, file: Path, pose: np.ndarray, names: dict[int, str]) -> Boxes:
        try:
            found = _read(file)["annotations"]
            sizes = [[float(one["box"][key]) for key in ("length", "width", "height")] for one in found]
            kinds = tuple(kind_of(names.get(one["class_id"], "")) for one in found)
            tracks = tuple(str(one["instance_id"]) for one in found)
            own = [_transform(one["box"]["pose"], file, self.clip_id) for one in found]
        except (KeyError, TypeError, ValueError) as error:
            wanted = "annotations with box, class_id and instance_id"
            raise DataError(f"no boxes: {error!r}", file=file, clip=self.clip_id, wanted=wanted) from error
        return Boxes(pose @ np.stack(own), np.array(sizes), kinds, tracks) if found else NO_BOXES


def _boxes(scene: _Scene, document: dict[str, Any]) -> _Boxes | None:
    """Return the boxes of the first lidar; None where a cloud has none."""
    records = next(iter(scene.by_sensor("point_cloud").values()))
    names = [record.get("annotations", {}).get(_BOXES_3D) for record in records]
    if not all(isinstance(name, str) for name in names):
        return None
    files = tuple(scene.path.parent / str(name) for name in names)
    key = document.get("ontologies", {}).get(_BOXES_3D)
    ontology = scene.path.parent / "ontology" / f"{key}.json"
    times = np.array([scene.stamp_us(record) for record in records], np.int64)
    poses = np.stack([scene.pose(record) for record in records])
    known = ontology if ontology.is_file() else None
    return _Boxes(scene.clip_id, times, files, poses, known) if all(file.is_file() for file in files) else None


def _contradictions(scene: _Scene) -> Iterator[Finding]:
    """Yield a finding where the ISO text of the first cloud's time is more than a second off its file name."""
    for datum in scene.data.values():
        record = datum["datum"].get("point_cloud")
        stated = None if record is None else _iso_us(datum.get("id", {}).get("timestamp"))
        if record is None or stated is None:
            continue
        used = scene.stamp_us(record)
        if abs(stated - used) > 1_000_000:
            years = [str(np.datetime64(stamp, "us").astype("datetime64[Y]")) for stamp in (stated, used)]
            text = f"timestamp {datum['id']['timestamp']} of {record['filename']} is in {years[0]}, its file name in "
            text += f"{years[1]}: the file names are used, as 1e-7 s"
            evidence = {"timestamp_us": stated, "file_name_us": used, "ratio": stated / used}
            stem = Path(record["filename"]).stem
            yield Finding("clock.contradiction", "warning", text, None, str(scene.path), evidence, frame_id=stem)
        return


def _iso_us(text: object) -> int | None:
    """Return microseconds since 1970 of an ISO text, None where it is no such text."""
    try:
        stamp = np.datetime64(str(text).removesuffix("Z"), "us") if isinstance(text, str) else None
    except ValueError:
        return None
    return None if stamp is None or np.isnat(stamp) else int(stamp.astype(np.int64))


def _lidars(scene: _Scene, lenses: dict[str, Any], sensor: Sensor) -> dict[str, LidarStream]:
    """Return the lidars of a scene, that of the first sample first."""
    clouds = scene.by_sensor("point_cloud")
    if not clouds:
        raise DataError("no lidar cloud in it", file=scene.path, clip=scene.clip_id, wanted=_WANTED)
    return {name: _lidar(scene, name, records, lenses.get(name), sensor) for name, records in clouds.items()}


def _lidar(scene: _Scene, name: str, records: list[dict[str, Any]], calibration: Any, sensor: Sensor) -> LidarStream:
    mounting = None if calibration is None else calibration[1]
    of_vehicle = mounting is None or np.allclose(mounting, np.eye(4))
    height_m = _HEIGHT_M if of_vehicle else 0.0
    raised = np.eye(4)
    raised[2, 3] = height_m
    stamps = np.array([scene.stamp_us(record) for record in records], np.int64)
    poses = np.stack([scene.pose(record) @ raised for record in records])
    format = tuple(str(column) for column in records[0].get("point_format") or _FORMAT)
    read = _Clouds(scene.clip_id, tuple(scene.file(record) for record in records), format, height_m)
    return LidarStream(
        name,
        sensor,
        tuple(Path(record["filename"]).stem for record in records),
        np.stack([stamps, stamps + 1], axis=1),  # a moment; sweeps of no length at all are broken ones elsewhere
        read,
        np.repeat(poses[:, None], 2, axis=1),
        ego_SE3_lidar=raised if mounting is None else mounting @ raised,
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


def _cameras(scene: _Scene, lenses: dict[str, Any], calibration: Path) -> Iterator[tuple[str, CameraStream]]:
    for name, records in sorted(scene.by_sensor("image").items()):
        if name not in lenses:
            raise DataError("no calibration of it", file=calibration, clip=scene.clip_id, key=name, wanted=_WANTED)
        lens, mount = lenses[name]
        size = int(records[0]["width"]), int(records[0]["height"])
        fx, fy, cx, cy = (float(lens[key]) for key in ("fx", "fy", "cx", "cy"))
        model = PinholeCamera(fx, fy, cx, cy, *size)
        stamps = np.array([scene.stamp_us(record) for record in records], np.int64)
        images = ImageFiles(tuple(scene.file(record) for record in records), scene.clip_id)
        poses = np.stack([scene.pose(record) for record in records])
        yield name, CameraStream(name, stamps, images, model, poses, ego_SE3_camera=mount)
