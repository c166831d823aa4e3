"""The published Cosmos lidar release: sparse range maps in tars, poses and times in ``metadata``, cameras as mp4.

A range map is stored as three arrays per sweep (row, column, range as float16: its step is 62.5 mm from 64 m on).
Sweep i is the i-th member named ``*.lidar_row.npz`` and row i of the metadata. Beyond the published files this reader
takes ``sensor.yaml`` at the root (the sensor, where it is not the 128-beam one), ``lidar_sensor_config/<clip>.json``
(the calibrated beam angles of one unit), ``labels/<clip>.tar`` and ``pinhole_intrinsic/<clip>.tar``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import Clip, one_lidar_clip
from cosmos_lidar.clips.files import clean_id
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.release.cameras import open_cameras
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.clips.tar_index import BROKEN_ARRAY, TarIndex
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

DESCRIPTION = "the published Cosmos lidar release, or one of its lidar/<clip>.tar files"
EXAMPLE_LAYOUT = """
metadata/<clip>.npz                          pose_list, timestamps_list, frame_indices
lidar/<clip>.tar                             <clip>.<frame>.lidar_row.npz, .lidar_col.npz, .lidar_range.npz
pose/<clip>.tar, ftheta_intrinsic/<clip>.tar, ftheta_camera_*/<clip>.mp4                     (optional)
lidar_split.lst, sensor.yaml, lidar_sensor_config/<clip>.json, labels/<clip>.tar             (optional)
"""
_METADATA = {"pose_list": (2, 4, 4), "timestamps_list": (2,), "frame_indices": ()}


def recognise(path: Path) -> Strength:
    """Return EXACT for a release folder, its ``lidar`` folder, or a tar of range maps; GENERIC for ``lidar/*.tar``."""
    if path.is_file():
        if path.suffix != ".tar":
            return Strength.NONE
        if path.parent.name == "lidar" and _has_metadata(_root(path)):
            return Strength.EXACT
        return Strength.EXACT if _starts_like_a_lidar_tar(path) else Strength.GENERIC * (path.parent.name == "lidar")
    root = _root(path)
    tar = next((root / "lidar").glob("*.tar"), None)
    if tar is None:
        return Strength.EXACT if (root / "lidar").is_dir() and _has_metadata(root) else Strength.NONE
    return Strength.EXACT if _has_metadata(root) or _starts_like_a_lidar_tar(tar) else Strength.GENERIC


def _has_metadata(root: Path) -> bool:
    return (root / "lidar_split.lst").is_file() or any((root / "metadata").glob("*.npz"))


def _starts_like_a_lidar_tar(path: Path) -> bool:
    with path.open("rb") as file:
        return b".lidar_" in file.read(100)  # the name of the first member


def _root(path: Path) -> Path:
    if path.is_file():
        return path.parent.parent if path.parent.name == "lidar" else path.parent
    return path.parent if path.name == "lidar" and any(path.glob("*.tar")) else path


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return the clips of a release folder (those that ``lidar_split.lst`` names, where it exists), or that of one tar.

    A single tar may come without any metadata folder beside it: its sweeps then have no poses and no true times.

    Raises:
        DataError: see the fields of the message; nothing broken is passed over.
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
        names = [line.strip().split(".")[0] for line in split.read_text(encoding="utf-8").splitlines() if line.strip()]
        if not names:
            raise DataError("the split list is empty", file=split, wanted="one clip per line")
        return list(dict.fromkeys(names))
    return sorted(
        file.name.removesuffix(".tar") for file in (root / "lidar").glob("*.tar") if not file.name.startswith(".")
    )


def _open_clip(root: Path, name: str, base: Sensor, calibrated: bool) -> Clip:
    tar_path = root / "lidar" / f"{name}.tar"
    if not tar_path.is_file():
        raise DataError("no such lidar file", file=tar_path, clip=name, wanted="one tar per clip of lidar_split.lst")
    metadata = _read_metadata(root / "metadata" / f"{name}.npz", name)
    tar = TarIndex.of(tar_path, name)
    stems, notes = _match_frames(tar, metadata["frame_indices"], name)
    labels_path = root / "labels" / f"{name}.tar"
    labels = TarIndex.of(labels_path, name) if labels_path.is_file() else None
    sensor = _calibrate(base, root / "lidar_sensor_config" / f"{name}.json", name) if calibrated else base
    poses, times = metadata["pose_list"].astype(np.float64), metadata["timestamps_list"].astype(np.int64)
    if np.isnan(poses).all():
        poses, notes = None, (*notes, "the metadata holds no poses")
    frame_ids = tuple(str(value) for value in metadata["frame_indices"])
    cameras = open_cameras(root, name, frame_ids, times[:, 0])
    return one_lidar_clip(
        clean_id(name),
        sensor,
        frame_ids,
        times,
        ReleaseSweeps(name, tar, tuple(stems), sensor.shape, labels),
        tar_path,
        "release",
        world_SE3_lidar=poses,
        cameras=cameras,
        notes=notes,
    )


def _open_lone_tar(path: Path, sensor: Sensor) -> Clip:
    name = path.name.removesuffix(".tar")
    tar = TarIndex.of(path, name)
    stems = _stems(tar)
    if not stems:
        raise DataError("no sweep in it", file=path, clip=name, key="*.lidar_row.npz", wanted="a lidar tar")
    frame_ids = tuple(stem.rsplit(".", 1)[-1] for stem in stems)
    times = np.round(np.stack([np.arange(len(stems)), np.arange(len(stems)) + 1], 1) * 1e6 / sensor.spin_hz)
    notes = ("no metadata: no poses, and times by the usual rate",)
    sweeps = ReleaseSweeps(name, tar, tuple(stems), sensor.shape)
    times = times.astype(np.int64)
    return one_lidar_clip(clean_id(name), sensor, frame_ids, times, sweeps, path, "release", notes=notes)


def _stems(tar: TarIndex) -> list[str]:
    """Return ``<clip>.<frame>`` of the sweeps, in the order of the tar."""
    return [name.removesuffix(".lidar_row.npz") for name in tar.members if name.endswith(".lidar_row.npz")]


def _read_metadata(file: Path, clip: str) -> dict[str, np.ndarray]:
    """Return the three arrays of the metadata, with their shapes, kinds and common length checked."""
    if not file.is_file():
        raise DataError("missing metadata", file=file, clip=clip, wanted=f"npz with {', '.join(_METADATA)}")
    found = {}
    try:
        with np.load(file, allow_pickle=False) as archive:
            found = {key: archive[key] for key in _METADATA if key in archive.files}
    except BROKEN_ARRAY as error:
        raise DataError(
            f"not a readable npz: {error}", file=file, clip=clip, wanted="npz without Python objects"
        ) from error
    for key, shape in _METADATA.items():
        if key not in found:
            raise DataError("missing array", file=file, clip=clip, key=key, wanted=f"the arrays {', '.join(_METADATA)}")
        if found[key].shape[1:] != shape or found[key].ndim != len(shape) + 1:
            wanted = "(" + ", ".join(["N", *map(str, shape)]) + ")"
            raise DataError(f"shape {found[key].shape}", file=file, clip=clip, key=key, wanted=wanted)
    _check_kinds(found, file, clip)
    lengths = {key: len(value) for key, value in found.items()}
    if len(set(lengths.values())) != 1 or not lengths["pose_list"]:
        raise DataError(
            f"lengths {lengths}", file=file, clip=clip, key="pose_list", wanted="one row per frame, at least one"
        )
    return found


def _check_kinds(found: dict[str, np.ndarray], file: Path, clip: str) -> None:
    for key, kinds in (("pose_list", "f"), ("timestamps_list", "iu"), ("frame_indices", "iuUS")):
        if found[key].dtype.kind not in kinds:
            wanted = {"f": "floating point", "iu": "integer microseconds", "iuUS": "integers or strings"}[kinds]
            raise DataError(f"dtype {found[key].dtype}", file=file, clip=clip, key=key, wanted=wanted)
    if found["frame_indices"].dtype.kind == "S":
        found["frame_indices"] = np.char.decode(found["frame_indices"], "ascii")


def _match_frames(tar: TarIndex, frame_indices: np.ndarray, clip: str) -> tuple[list[str], tuple[str, ...]]:
    """Return the member stem of each metadata row (``<clip>.<frame>``) and remarks.

    The published code goes by order alone; the frame numbers tell whether that is right. A tar may hold one frame more
    than the metadata: the last one, which has no successor to take the pose at its end from.
    """
    stems = _stems(tar)
    rows, held = len(frame_indices), len(stems)
    if held not in (rows, rows + 1):
        raise DataError(
            f"{rows} frames in the metadata and {held} in the lidar tar",
            file=tar.path,
            clip=clip,
            key="frame_indices",
            wanted="the same number, or one more in the tar",
        )
    numbers = [_number(stem.rsplit(".", 1)[-1]) for stem in stems]
    wanted = [_number(str(value)) for value in frame_indices]
    notes: tuple[str, ...] = (
        ("the last frame of the tar is not in the metadata and is left out",) if held > rows else ()
    )
    if numbers[:rows] != wanted:
        first = next(i for i in range(rows) if numbers[i] != wanted[i])
        if set(numbers) & set(wanted):
            raise DataError(
                f"row {first} of the metadata is frame {frame_indices[first]}, the tar has {stems[first]} there",
                file=tar.path,
                clip=clip,
                key="frame_indices",
                wanted="the same frames in the same order",
            )
        notes += ("frames of metadata and tar are numbered differently; matched by order",)
    return stems[:rows], notes


def _number(frame: str) -> int | str:
    return int(frame) if frame.isdecimal() else frame


def _calibrate(base: Sensor, file: Path, clip: str) -> Sensor:
    """Return ``base`` with the beam angles of ``lidar_sensor_config/<clip>.json``, where there is one."""
    if not file.is_file():
        return base
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        elevations = np.asarray(config["row_elevations_rad"], np.float64)
        offsets = (
            np.asarray(config["row_azimuth_offsets_rad"], np.float64) if "row_azimuth_offsets_rad" in config else None
        )
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"not a sensor configuration: {error}",
            file=file,
            clip=clip,
            key="row_elevations_rad",
            wanted="JSON with lists of radians",
        ) from error
    for key, values in (("row_elevations_rad", elevations), ("row_azimuth_offsets_rad", offsets)):
        if values is not None and (values.shape != (base.rows,) or not np.isfinite(values).all()):
            wanted = f"{base.rows} finite radians, as sensor {base.name} has; another sensor: sensor.yaml or --sensor"
            raise DataError(f"shape {values.shape}", file=file, clip=clip, key=key, wanted=wanted)
    return base.with_rows(elevations, offsets)


@dataclass(frozen=True)
class ReleaseSweeps:
    """``read_sweep`` of a release clip: the sparse members of one frame made dense.

    Attributes:
        clip_id: as the members are named.
        tar: the lidar tar.
        stems: ``<clip>.<frame>`` per sweep.
        shape: (rows, columns) of the sensor.
        labels: tar of ``<clip>.<frame>.lidar_label.npz``, one class per stored range; or None.
    """

    clip_id: str
    tar: TarIndex
    stems: tuple[str, ...]
    shape: tuple[int, int]
    labels: TarIndex | None = None

    def __call__(self, index: int) -> Sweep:
        """Read sweep ``index``.

        Raises:
            DataError: a member is missing, broken, of a wrong kind, or points outside the sensor's map.
        """
        rows = self._indices(index, "lidar_row", self.shape[0])
        columns = self._indices(index, "lidar_col", self.shape[1])
        ranges = self._values(index, "lidar_range", self.tar, "f")
        self._same_length(index, rows, columns, ranges)
        if not (np.isfinite(ranges) & (ranges >= 0)).all():
            wrong = int((~(np.isfinite(ranges) & (ranges >= 0))).sum())
            self._complain(
                index, "lidar_range", f"{wrong} of {len(ranges)} ranges NaN, infinite or negative", "metres"
            )
        at = (rows, columns)
        intensity = labels = None
        if f"{self.stems[index]}.lidar_intensity.npz" in self.tar.members:
            intensity = self._dense(index, at, "lidar_intensity", self.tar, "fiu", np.float32)
        if self.labels is not None and f"{self.stems[index]}.lidar_label.npz" in self.labels.members:
            labels = self._dense(index, at, "lidar_label", self.labels, "iu", np.uint16)
        range_m = np.zeros(self.shape, np.float32)
        range_m[at] = ranges
        return Sweep(range_m=range_m, intensity=intensity, labels=labels)

    def _dense(self, index: int, at: tuple, part: str, tar: TarIndex, kinds: str, dtype: type) -> np.ndarray:
        values = self._values(index, part, tar, kinds)
        self._same_length(index, at[0], at[1], values)
        dense = np.zeros(self.shape, dtype)
        dense[at] = values
        return dense

    def _values(self, index: int, part: str, tar: TarIndex, kinds: str) -> np.ndarray:
        values = tar.read_array(f"{self.stems[index]}.{part}.npz", self.clip_id)
        if values.dtype.kind not in kinds or values.ndim != 1:
            kind = "floating point" if kinds == "f" else "integers" if kinds == "iu" else "numbers"
            self._complain(index, part, f"dtype {values.dtype}, shape {values.shape}", f"one row of {kind}")
        return values

    def _indices(self, index: int, part: str, limit: int) -> np.ndarray:
        values = self._values(index, part, self.tar, "iu")
        if len(values) and not (0 <= int(values.min()) and int(values.max()) < limit):
            wanted = f"0 to {limit - 1}; a dataset of another sensor needs sensor.yaml or --sensor"
            self._complain(index, part, f"values from {values.min()} to {values.max()}", wanted)
        return values.astype(np.int64)

    def _same_length(self, index: int, rows: np.ndarray, columns: np.ndarray, values: np.ndarray) -> None:
        if not len(rows) == len(columns) == len(values):
            lengths = f"{len(rows)} rows, {len(columns)} columns, {len(values)} values"
            self._complain(index, "lidar_row", lengths, "as many of each")

    def _complain(self, index: int, part: str, problem: str, wanted: str) -> None:
        key = f"{self.stems[index]}.{part}.npz"
        raise DataError(problem, file=self.tar.path, clip=self.clip_id, key=key, wanted=wanted)
