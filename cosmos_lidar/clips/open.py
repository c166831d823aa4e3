"""Open whatever a path holds as clips."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from cosmos_lidar.clips import readers
from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.files import refuse_picture
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.sensors.sensor import Sensor, load_sensor


def find_readers() -> dict[str, ModuleType]:
    """Return the reader modules by the name that ``format=`` takes."""
    names = sorted(info.name for info in pkgutil.iter_modules(readers.__path__) if not info.name.startswith("_"))
    return {name: importlib.import_module(f"cosmos_lidar.clips.readers.{name}") for name in names}


def open_clips(
    path: str | Path,
    format: str | None = None,
    sensor: str | Path | Sensor | None = None,
    on_error: Callable[[DataError], None] | None = None,
) -> list[Clip]:
    """Return the clips at ``path``, in a stable order.

    Args:
        path: file or folder of a dataset.
        format: name of the reader (see :func:`find_readers`); None to recognise it by the names of the files.
        sensor: sensor, shipped name or sensor file that replaces the one the reader would choose.
        on_error: takes the error of each clip that cannot be opened, which is left out; None: the first one is raised.

    Raises:
        DataError: nothing is there, or it is not recognised, or by more than one reader, or it is broken.
        UserError: ``format`` or ``sensor`` is not known.
    """
    path = Path(path)
    if not path.exists():
        raise DataError("nothing is there", file=path, wanted="a file or folder of a dataset")
    if path.is_file():
        refuse_picture(path)
    reader = _choose(path, format)
    chosen = load_sensor(sensor) if isinstance(sensor, (str, Path)) else sensor
    clips = reader.open_clips(path, sensor=chosen, on_error=on_error)
    if not clips and on_error is None:
        raise DataError("no clip in it", file=path, wanted=_layout(reader))
    _refuse_doubles(clips, path)
    return clips


def _choose(path: Path, format: str | None) -> ModuleType:
    known = find_readers()
    if format is not None and format not in known:
        raise UserError(f"unknown format {format!r}: known are {', '.join(known)}")
    asked = known if format is None else {format: known[format]}
    found = {name: module for name, module in asked.items() if module.recognise(path)}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        names = ", ".join(found)
        raise DataError(
            f"more than one reader recognises this: {names}", file=path, wanted=f"--format with one of {names}"
        )
    problem = "not recognised as a dataset" if format is None else f"not recognised as {format}"
    raise DataError(problem, file=path, wanted="one of these layouts\n" + "\n".join(_layout(m) for m in asked.values()))


def _layout(reader: ModuleType) -> str:
    name = reader.__name__.rsplit(".", 1)[-1]
    lines = "\n".join("    " + line for line in reader.EXAMPLE_LAYOUT.strip().splitlines())
    return f"  {name}: {reader.DESCRIPTION}\n{lines}"


def _refuse_doubles(clips: list[Clip], path: Path) -> None:
    seen: dict[str, Clip] = {}
    for clip in clips:
        if clip.clip_id in seen:
            both = f"{seen[clip.clip_id].source} and {clip.source}"
            raise DataError(f"two clips of one name: {both}", file=path, clip=clip.clip_id, wanted="unique names")
        seen[clip.clip_id] = clip
