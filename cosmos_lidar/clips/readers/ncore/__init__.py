"""NVIDIA NCore V4 sequences: lidars, cameras, poses and their models out of ``.ncore4*.zarr.itar`` stores.

Nothing in a store is executed: stores are Zarr, whose own library runs pickles where a file names that codec, and are
read by :mod:`cosmos_lidar.clips.zarr_store` instead, which knows plain arrays alone.

Axes of a lidar are those of its model (x forward, y left, z up). Rays are where the lidar looked at their own times,
which ``time_us`` has; with a model and one return per ray, sweeps are range images by ``model_element``. Intensity is 0
to 1. Poses come from the graph of coordinate frames, up to ``world``; ``rig`` is the vehicle. The stamp of an image is
the middle between its start and its end. Lenses are f-theta, or pinhole with OpenCV's five coefficients.

Not read: radars, cuboids, masks, labels of images, native point clouds, distortion by a windshield.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.files import clean_id
from cosmos_lidar.clips.readers._each import OnError, open_each
from cosmos_lidar.clips.readers.ncore.sequence import (
    Edge,
    Sequence,
    beyond_us,
    frame_times,
    path_between,
    poses_along,
)
from cosmos_lidar.clips.readers.ncore.sweeps import EncodedImages, RaySweeps
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import visible
from cosmos_lidar.sensors.camera_models import lens_of_model, windshield_note
from cosmos_lidar.sensors.ftheta import FThetaCamera
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.sensor import Sensor, load_sensor
from cosmos_lidar.sensors.structured_model import sensor_of_model

DESCRIPTION = "NVIDIA NCore V4 sequences, in .ncore4*.zarr.itar files or .ncore4*.zarr folders"
EXAMPLE_LAYOUT = """
SEQUENCE/<sequence>.ncore4.zarr.itar
SEQUENCE/<sequence>.ncore4-<lidar>.zarr.itar, SEQUENCE/<sequence>.json  (optional)
"""
_WITHOUT_MODEL = "uniform64"
_WORLD, _RIG = "world", "rig"


def recognise(path: Path) -> Strength:
    """Return EXACT where ``path`` is a store, a folder of stores, or a folder of such folders."""
    return Strength.EXACT if _stores(path) else Strength.NONE


def open_clips(path: Path, sensor: Sensor | None = None, on_error: OnError | None = None) -> list[Clip]:
    """Return one clip per sequence.

    Args:
        path: one store of a sequence, a folder of sequences, or a folder of such folders.
        sensor: in place of the models of the lidars; sweeps are then points.
        on_error: takes the error of a sequence that cannot be opened.

    Raises:
        DataError: a broken store, or one of another version.
    """
    sequences: dict[Path, list[Path]] = {}
    for store in _stores(path):
        sequences.setdefault(_base(store), []).append(store)
    openers = (partial(_open_sequence, tuple(stores), sensor, path) for stores in sequences.values())
    return open_each(openers, on_error)


def _base(store: Path) -> Path:
    return store.with_name(store.name.split(".ncore4")[0])


def _stores(path: Path) -> list[Path]:
    """Return the stores at a path; of one store those of its whole sequence."""
    if _is_store(path):
        return [one for one in visible(path.parent, f"{_escaped(_base(path).name)}.ncore4*") if _is_store(one)]
    if not path.is_dir():
        return []
    own = [one for one in visible(path, "*.ncore4*") if _is_store(one)]
    return own or [one for one in visible(path, "*/*.ncore4*") if _is_store(one)]


def _is_store(path: Path) -> bool:
    named = ".ncore4" in path.name
    return named and (path.name.endswith(".zarr.itar") or (path.name.endswith(".zarr") and path.is_dir()))


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


class _Places:
    """Where sensors are: their poses in the world, and their mountings."""

    def __init__(self, sequence: Sequence) -> None:
        self.edges = sequence.edges()
        self.notes: dict[str, None] = {}

    def world(self, sensor: str, times_us: np.ndarray) -> np.ndarray | None:
        """Return world_SE3_sensor at times; None, and a note, where no path leads to the world."""
        steps = path_between(self.edges, sensor, _WORLD)
        if steps is None:
            self.notes[f"{sensor}: no poses from it to {_WORLD}"] = None
            return None
        beyond = beyond_us(steps, times_us)
        if beyond:
            self.notes[f"{sensor}: poses end {beyond / 1000:.1f} ms short of it and are extrapolated"] = None
        return poses_along(steps, times_us)

    def mounting(self, sensor: str) -> np.ndarray | None:
        """Return ego_SE3_sensor; None where it is not fixed."""
        fixed: list[Edge] = [edge for edge in self.edges if edge.times_us is None]
        steps = path_between(fixed, sensor, _RIG)
        return None if steps is None else poses_along(steps, np.zeros(())).copy()


def _open_sequence(paths: tuple[Path, ...], sensor: Sensor | None, source: Path) -> Clip:
    sequence = Sequence(paths)
    clip, places = clean_id(sequence.name), _Places(sequence)
    try:
        lidars = _lidars(sequence, clip, places, sensor)
        cameras = _cameras(sequence, clip, places, next(iter(lidars), None))
    except DataError as error:
        raise error.at(clip=clip) from error
    if not lidars and not cameras:
        raise DataError("neither lidar nor camera in it", file=source, clip=clip, wanted="lidars or cameras")
    return Clip(clip, source, "ncore", lidars, cameras, tuple(places.notes))


def _lidars(sequence: Sequence, clip: str, places: _Places, given: Sensor | None) -> dict[str, LidarStream]:
    found = {}
    for name, (store, path) in sequence.components("lidars").items():
        times = frame_times(store, path)
        times[:, 1] = np.maximum(times[:, 1], times[:, 0] + 1)
        if not len(times):
            places.notes[f"{name}: no frame"] = None
            continue
        sensor, shape = _sensor(sequence, name, given, places)
        found[name] = LidarStream(
            name,
            sensor,
            tuple(str(end) for end in frame_times(store, path)[:, 1]),
            times,
            RaySweeps(clip, store.path, path, frame_times(store, path), shape),
            places.world(name, times),
            ego_SE3_lidar=places.mounting(name),
        )
    return found


def _sensor(
    sequence: Sequence, name: str, given: Sensor | None, places: _Places
) -> tuple[Sensor, tuple[int, int] | None]:
    """Return the sensor, and its shape where elements of frames are its pixels."""
    if given is not None:
        return given, None
    model = sequence.intrinsics("lidars", name)
    if model is None:
        places.notes[f"{name}: no model in it, range maps are those of {_WITHOUT_MODEL}"] = None
        return load_sensor(_WITHOUT_MODEL), None
    store, _, document = model
    sensor = sensor_of_model(document, name, store.path)
    return sensor, sensor.shape


def _cameras(sequence: Sequence, clip: str, places: _Places, main: str | None) -> dict[str, CameraStream]:
    found = {}
    mounted = None if main is None else places.mounting(main)
    for name, (store, path) in sequence.components("cameras").items():
        frames = frame_times(store, path)
        if not len(frames):
            places.notes[f"{name}: no frame"] = None
            continue
        times = frames[:, 0] + (frames[:, 1] - frames[:, 0]) // 2
        own = places.mounting(name)
        found[name] = CameraStream(
            name,
            times,
            EncodedImages(clip, store.path, path, frames[:, 1]),
            _lens(sequence, name, places),
            places.world(name, times),
            None if mounted is None or own is None else np.linalg.inv(mounted) @ own,
            own,
        )
    return found


def _lens(sequence: Sequence, name: str, places: _Places) -> FThetaCamera | PinholeCamera | None:
    model = sequence.intrinsics("cameras", name)
    if model is None:
        places.notes[f"{name}: no lens in it"] = None
        return None
    store, path, document = model
    kind, parameters = document.get("camera_model_type"), document.get("camera_model_parameters")
    try:
        lens = lens_of_model(str(kind), parameters)
    except DataError as error:
        key = f"{path} {error.key or ''}".strip()
        raise store.broken(error.problem, key, error.wanted or "a lens") from error
    if lens is None:
        places.notes[f"{name}: no lens, as {kind!r:.40} with this distortion is not modeled"] = None
    note = windshield_note(name, parameters)
    if note is not None:
        places.notes[note] = None
    return lens
