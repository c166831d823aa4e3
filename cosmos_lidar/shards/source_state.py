"""The state of the files that a shard is made of, so that shards of files that have changed are made again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.clip import Clip

_DEEPEST = 4


def clip_state(clip: Clip, start: int, stop: int) -> str:
    """Return 16 hexadecimal digits that change with what sweeps ``start`` to ``stop - 1`` are made of.

    That is: size and time of change of their files, how those are read, times and poses.

    Args:
        clip: the clip; of its main lidar.
        start: first sweep.
        stop: one past the last sweep.
    """
    lidar, digest = clip.lidar, hashlib.sha256()
    digest.update(np.ascontiguousarray(lidar.timestamps_us[start:stop]).tobytes())
    if lidar.world_SE3_lidar is not None:
        digest.update(np.ascontiguousarray(lidar.world_SE3_lidar[start:stop]).tobytes())
    for part in _parts_of(lidar.read, start, stop):
        digest.update(part.encode())
    return digest.hexdigest()[:16]


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
        return
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
