"""Listing and running of checks."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from types import ModuleType

from cosmos_lidar.clips import checks
from cosmos_lidar.clips.checks._recording import Recording
from cosmos_lidar.clips.clip import CameraStream, LidarStream
from cosmos_lidar.clips.files import file_of
from cosmos_lidar.clips.finding import Finding
from cosmos_lidar.errors import UserError, nearest


def find_checks(names: Sequence[str] | None = None, *, reading: bool = True) -> dict[str, ModuleType]:
    """Return the modules of checks by name.

    Args:
        names: those that are wanted; None for all.
        reading: also those that read sweeps or images.

    Raises:
        UserError: a name that is not one of a check.
    """
    known = sorted(info.name for info in pkgutil.iter_modules(checks.__path__) if not info.name.startswith("_"))
    for name in names or ():
        if name not in known:
            raise UserError(f"unknown check {name!r}, did you mean {nearest(name, known)!r}? Valid: {', '.join(known)}")
    chosen = [name for name in known if names is None or name in names]
    modules = {name: importlib.import_module(f"{checks.__name__}.{name}") for name in chosen}
    first = sorted(modules, key=lambda name: (modules[name].READS, name))  # times before what is seen with them
    return {name: modules[name] for name in first if reading or not modules[name].READS}


def run_checks(recording: Recording, modules: Iterable[ModuleType]) -> tuple[Finding, ...]:
    """Return the findings of checks, lidar by lidar, camera by camera, then those about the clip and the reader's."""
    modules, found = list(modules), []
    for stream in recording.clip.lidars.values():
        for check in _having(modules, "check_lidar"):
            found += [_of_lidar(one, recording, stream) for one in check(recording, stream)]
    for camera in recording.clip.cameras.values():
        for check in _having(modules, "check_camera"):
            found += [_of_camera(one, recording, camera) for one in check(recording, camera)]
    for check in _having(modules, "check_clip"):
        found += list(check(recording))
    return tuple(_of_clip(one, recording) for one in (*found, *recording.clip.findings))


def _having(modules: list[ModuleType], name: str) -> Iterator:
    return (getattr(module, name) for module in modules if hasattr(module, name))


def _of_lidar(one: Finding, recording: Recording, stream: LidarStream) -> Finding:
    frame_id = stream.frame_ids[one.frame] if one.frame is not None and one.frame < len(stream) else None
    file = one.file or _file(stream, one.frame)
    return replace(one, lidar=stream.name, frame_id=one.frame_id or frame_id, file=file)


def _of_camera(one: Finding, recording: Recording, camera: CameraStream) -> Finding:
    return replace(one, camera=camera.name, file=one.file or _file(camera, one.frame))


def _file(stream: LidarStream | CameraStream, frame: int | None) -> str | None:
    path = file_of(stream.read, frame or 0)
    return None if path is None else str(path)


def _of_clip(one: Finding, recording: Recording) -> Finding:
    return replace(one, clip=recording.clip.clip_id, file=one.file or str(recording.clip.source))
