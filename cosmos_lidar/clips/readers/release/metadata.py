"""``metadata/<clip>.npz``: poses, times and frame numbers, and which members of a lidar tar they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.arrays import read_npz
from cosmos_lidar.clips.tar_index import TarIndex
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import parse_json, read_text
from cosmos_lidar.sensors.rigid import pose_of_file
from cosmos_lidar.sensors.sensor import Sensor

_METADATA = {"pose_list": (2, 4, 4), "timestamps_list": (2,), "frame_indices": ()}
_BESIDE = ("lidar_name", "ego_SE3_lidar")  # written by this project


@dataclass(frozen=True)
class Metadata:
    """Contents of a metadata file.

    Attributes:
        poses: (N, 2, 4, 4) float64 lidar to world; None where all are NaN.
        times_us: (N, 2) int64.
        frame_indices: (N,) integers or strings.
        lidar: name of the lidar; "lidar" in published files.
        ego_SE3_lidar: (4, 4) mounting; None in published files.
    """

    poses: np.ndarray | None
    times_us: np.ndarray
    frame_indices: np.ndarray
    lidar: str = "lidar"
    ego_SE3_lidar: np.ndarray | None = None

    @property
    def frame_ids(self) -> tuple[str, ...]:
        """Frame names."""
        return tuple(str(value) for value in self.frame_indices)


def sweep_stems(tar: TarIndex) -> list[str]:
    """Return ``<clip>.<frame>`` of the sweeps, in the order of the tar."""
    return [name.removesuffix(".lidar_row.npz") for name in tar.members if name.endswith(".lidar_row.npz")]


def read_metadata(file: Path, clip: str) -> Metadata:
    """Read and check a metadata file.

    Raises:
        DataError: it is missing or broken, or arrays are missing, or of wrong shapes, kinds or lengths.
    """
    if not file.is_file():
        raise DataError("missing metadata", file=file, clip=clip, wanted=f"npz with {', '.join(_METADATA)}")
    try:
        found = read_npz(file, (*_METADATA, *_BESIDE))
    except DataError as error:
        raise error.at(file=file, clip=clip) from error
    _check_shapes(found, file, clip)
    _check_kinds(found, file, clip)
    lengths = {key: len(found[key]) for key in _METADATA}
    if len(set(lengths.values())) != 1 or not lengths["pose_list"]:
        raise DataError(
            f"lengths {lengths}", file=file, clip=clip, key="pose_list", wanted="one row per frame, at least one"
        )
    poses, mounting = found["pose_list"].astype(np.float64), found.get("ego_SE3_lidar")
    if mounting is not None:
        axes = "lidar axes to axes of the vehicle"
        mounting = pose_of_file(mounting.tolist(), file, "ego_SE3_lidar", axes, f"the lidar of clip {clip}")
    return Metadata(
        poses=None if np.isnan(poses).all() else poses,
        times_us=found["timestamps_list"].astype(np.int64),
        frame_indices=found["frame_indices"],
        lidar=str(found.get("lidar_name", "lidar")),
        ego_SE3_lidar=mounting,
    )


def _check_shapes(found: dict[str, np.ndarray], file: Path, clip: str) -> None:
    for key, shape in _METADATA.items():
        if key not in found:
            raise DataError("missing array", file=file, clip=clip, key=key, wanted=f"the arrays {', '.join(_METADATA)}")
        if found[key].shape[1:] != shape or found[key].ndim != len(shape) + 1:
            wanted = "(" + ", ".join(["N", *map(str, shape)]) + ")"
            raise DataError(f"shape {found[key].shape}", file=file, clip=clip, key=key, wanted=wanted)


def _check_kinds(found: dict[str, np.ndarray], file: Path, clip: str) -> None:
    for key, kinds in (("pose_list", "f"), ("timestamps_list", "iu"), ("frame_indices", "iuUS")):
        if found[key].dtype.kind not in kinds:
            wanted = {"f": "floating point", "iu": "integer microseconds", "iuUS": "integers or strings"}[kinds]
            raise DataError(f"dtype {found[key].dtype}", file=file, clip=clip, key=key, wanted=wanted)
    if found["frame_indices"].dtype.kind == "S":
        found["frame_indices"] = np.char.decode(found["frame_indices"], "ascii")


def match_frames(tar: TarIndex, frame_indices: np.ndarray, clip: str) -> tuple[list[str], tuple[str, ...]]:
    """Return the member stem of each metadata row (``<clip>.<frame>``) and remarks.

    The published code goes by order alone; the frame numbers show whether that is right. A tar may hold one frame more
    than the metadata: the last one, which has no successor to take the pose at its end from.
    """
    stems = sweep_stems(tar)
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


def calibrate(base: Sensor, file: Path, clip: str) -> Sensor:
    """Return ``base`` with the beam angles of ``lidar_sensor_config/<clip>.json``, where there is one."""
    if not file.is_file():
        return base
    try:
        config = parse_json(read_text(file))
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
