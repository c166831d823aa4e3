"""The state of the files that a shard or clip is made of: what was made of files that have changed is made again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.cut import ReadFrom

_DEEPEST = 4


def clip_state(clip: Clip, start: int, stop: int) -> str:
    """Return 16 hexadecimal digits that change with what sweeps ``start`` to ``stop - 1`` are made of.

    That is: size and time of change of their files, how those are read, times and poses.

    Args:
        clip: the clip; of its main lidar.
        start: first sweep.
        stop: one past the last sweep.
    """
    return _lidar_digest(clip.lidar, start, stop).hexdigest()[:16]


def recording_state(clip: Clip) -> str:
    """Return 16 hexadecimal digits that change with what all lidars and cameras of a clip are made of.

    As :func:`clip_state`, and with beams, lenses, frame names and mountings.
    """
    digest = hashlib.sha256(clip.clip_id.encode())
    for lidar in clip.lidars.values():
        facts = (lidar.name, lidar.sensor.fingerprint(), lidar.frame_ids, lidar.motion_compensated)
        digest.update(repr(facts).encode())
        digest.update(_bytes_of(lidar.ego_SE3_lidar, lidar.reference_us))
        digest.update(_lidar_digest(lidar, 0, len(lidar)).digest())
    for camera in clip.cameras.values():
        _add_camera(digest, camera, 0, len(camera))
    return digest.hexdigest()[:16]


def frame_state(clip: Clip, index: int, images: Mapping[str, int | None]) -> str:
    """Return 16 hexadecimal digits that change with what a sweep and the images taken with it are made of.

    As :func:`clip_state` of one sweep, with lenses, mountings, and the poses around it, which images are placed by.

    Args:
        clip: the clip; of its main lidar.
        index: number of the sweep.
        images: camera -> number of its image, or None where it has none of the sweep.
    """
    lidar, poses = clip.lidar, clip.lidar.world_SE3_lidar
    digest = _lidar_digest(lidar, index, index + 1)
    facts = (lidar.sensor.fingerprint(), lidar.motion_compensated, sorted(images.items()))
    digest.update(repr(facts).encode())
    around = None if poses is None else poses[max(index - 1, 0) : index + 2]
    digest.update(
        _bytes_of(lidar.ego_SE3_lidar, None if lidar.reference_us is None else lidar.reference_us[index], around)
    )
    for name, number in images.items():
        if number is not None:
            _add_camera(digest, clip.cameras[name], number, number + 1)
    return digest.hexdigest()[:16]


def _add_camera(digest: hashlib._Hash, camera: CameraStream, start: int, stop: int) -> None:
    """Add images ``start`` to ``stop - 1`` of a camera."""
    poses = None if camera.world_SE3_camera is None else camera.world_SE3_camera[start:stop]
    digest.update(repr((camera.name, camera.model)).encode())
    digest.update(_bytes_of(camera.timestamps_us[start:stop], poses, camera.lidar_SE3_camera, camera.ego_SE3_camera))
    for part in _parts_of(camera.read, start, stop):
        digest.update(part.encode())


def _bytes_of(*arrays: np.ndarray | None) -> bytes:
    return b";".join(b"" if array is None else np.ascontiguousarray(array).tobytes() for array in arrays)


def _lidar_digest(lidar: LidarStream, start: int, stop: int) -> hashlib._Hash:
    digest = hashlib.sha256()
    digest.update(np.ascontiguousarray(lidar.timestamps_us[start:stop]).tobytes())
    if lidar.world_SE3_lidar is not None:
        digest.update(np.ascontiguousarray(lidar.world_SE3_lidar[start:stop]).tobytes())
    for part in _parts_of(lidar.read, start, stop):
        digest.update(part.encode())
    return digest


def files_state(files: Iterable[Path]) -> str:
    """Return 16 hexadecimal digits that change with names, sizes and times of change of files."""
    return hashlib.sha256("".join(map(_file_state, files)).encode()).hexdigest()[:16]


def _file_state(file: Path) -> str:
    try:
        found = file.stat()
    except OSError:
        return f"{file.name}: missing;"
    return f"{file.name}: {found.st_size} {found.st_mtime_ns};"


def _parts_of(read: Any, start: int, stop: int, depth: int = 0) -> Iterator[str]:
    """Yield the state of the files that a reader of sweeps names in its fields, one per sweep or one for all."""
    if not is_dataclass(read) or depth == _DEEPEST:
        if isinstance(getattr(read, "path", None), Path):
            yield _file_state(read.path)
        return
    if isinstance(read, ReadFrom):
        start, stop = read.start + start, read.start + stop
    for one in fields(read):
        value = getattr(read, one.name)
        if isinstance(value, tuple):
            yield from (_file_state(path) for path in value[start:stop] if isinstance(path, Path))
        elif isinstance(value, Path):
            yield _file_state(value)
        elif isinstance(value, (int, str, float)):
            yield f"{one.name}={value};"
        elif isinstance(getattr(value, "path", None), Path):
            yield _file_state(value.path)
        else:
            yield from _parts_of(value, start, stop, depth + 1)
