"""Formats of single point clouds: one module each, found by listing this package.

A module has ``EXTENSIONS``, the ends of the names of its files, and ``read(path, clip, used=False)``, which returns
:class:`~cosmos_lidar.clips.point_fields.PointFields` and raises :class:`~cosmos_lidar.errors.DataError` for anything
that is no such file; with ``used`` it leaves out fields that a sweep has no use for. One that knows where a map lies
has ``origin(path, clip)`` as well, which reads the header alone, and takes ``origin_m`` when it reads.
Headerless ``.bin`` files are not among them: :class:`cosmos_lidar.clips.files.PointSweeps` reads those.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import numpy as np

from cosmos_lidar.clips.point_fields import PointFields
from cosmos_lidar.errors import DataError


@lru_cache(maxsize=1)
def point_formats() -> dict[str, ModuleType]:
    """Return the modules by extension, such as ``.pcd``."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return {extension: module for module in modules for extension in module.EXTENSIONS}


def read_fields(
    path: Path, clip: str | None = None, *, used: bool = False, origin_m: np.ndarray | None = None
) -> PointFields:
    """Return the cloud of a file, by the extension of its name.

    Args:
        path: of it.
        clip: for messages.
        used: fields that a sweep has no use for may be left out.
        origin_m: (3,) as :func:`origin_of` gives it, subtracted from coordinates that are ``used``.

    Raises:
        DataError: an extension of no format, or a file that is broken.
        UserError: its extra is not installed.
    """
    try:
        module = _format(path, clip)
        options = {"origin_m": origin_m} if hasattr(module, "origin") else {}
        return module.read(path, clip, used=used, **options)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=path, clip=clip) from error


def origin_of(path: Path, clip: str | None = None) -> np.ndarray | None:
    """Return (3,) meters to subtract from the coordinates of a file; None where they are those of a sensor.

    Raises:
        DataError: as :func:`read_fields`.
    """
    module = _format(path, clip)
    try:
        return module.origin(path, clip) if hasattr(module, "origin") else None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=path, clip=clip) from error


def _format(path: Path, clip: str | None) -> ModuleType:
    known = point_formats()
    if path.suffix.lower() not in known:
        raise DataError(f"no format {path.suffix!r}", file=path, clip=clip, wanted=f"one of {', '.join(known)}")
    return known[path.suffix.lower()]
