"""Open whatever a path holds as clips."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from types import ModuleType

from cosmos_lidar.clips import readers
from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.files import HeaderlessFiles, refuse_image
from cosmos_lidar.clips.recognition import Strength, look_alike, strength_of
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.log import logger
from cosmos_lidar.sensors.sensor import Sensor, load_sensor

_MOST_ENTRIES = 10_000  # of a folder, that a message counts


def find_readers() -> dict[str, ModuleType]:
    """Return the reader modules by the name that ``format=`` takes."""
    names = sorted(info.name for info in pkgutil.iter_modules(readers.__path__) if not info.name.startswith("_"))
    return {name: importlib.import_module(f"cosmos_lidar.clips.readers.{name}") for name in names}


def open_clips(
    path: str | Path,
    format: str | None = None,
    sensor: str | Path | Sensor | None = None,
    on_error: Callable[[DataError], None] | None = None,
    lidar: str | None = None,
    columns: int | None = None,
) -> list[Clip]:
    """Return the clips at ``path``, in a stable order.

    Args:
        path: file or folder of a dataset.
        format: name of the reader (see :func:`find_readers`), which then reads whatever it finds of its kind; None to
            recognise it by the names of the files.
        sensor: sensor, shipped name or sensor file that replaces the one the reader would choose for the main lidar.
        on_error: takes the error of each clip that cannot be opened, which is left out; None: the first one is raised.
        lidar: name of the lidar that becomes the main one of each clip; None for the reader's choice.
        columns: float32 numbers per point of headerless point files (x y z first, then intensity); None for those of
            the format, and a refusal of files that look different.

    Raises:
        DataError: nothing is there, or it is not recognized, or by several readers alike, or it is broken; or a clip
            has no lidar of that name.
        UserError: ``format`` or ``sensor`` is not known, ``columns`` is below 3, or the format has no such files.
    """
    path = Path(path)
    if not path.exists():
        raise DataError("nothing is there", file=path, wanted="a file or folder of a dataset")
    if path.is_file():
        refuse_image(path)
    reader, note = _choose(path, format)
    chosen = load_sensor(sensor) if isinstance(sensor, (str, Path)) else sensor
    clips = reader.open_clips(path, sensor=chosen if lidar is None else None, on_error=on_error)
    if not clips and on_error is None:
        raise DataError("no clip in it", file=path, wanted=_layout(reader))
    _refuse_doubles(clips, path)
    if note is not None:
        logger.warning("%s: %s", path, note)
        clips = [replace(clip, notes=(note, *clip.notes)) for clip in clips]
    if columns is not None:
        clips = [_with_columns(clip, columns) for clip in clips]
    return clips if lidar is None else [_of_lidar(clip, lidar, chosen) for clip in clips]


def _with_columns(clip: Clip, columns: int) -> Clip:
    """Return a clip whose point files have so many numbers per point."""
    if columns < 3:
        raise UserError(f"columns {columns}: expected at least 3 (x y z)")
    lidars = {}
    for name, stream in clip.lidars.items():
        read = stream.read
        if not isinstance(read, HeaderlessFiles):
            raise UserError(f"columns {columns}: recordings of format {clip.format} have no headerless point files")
        lidars[name] = replace(stream, read=read.with_columns(columns))
    return replace(clip, lidars=lidars)


def _of_lidar(clip: Clip, lidar: str, sensor: Sensor | None) -> Clip:
    """Return a clip with another main lidar, and another sensor for it."""
    clip = clip.choose_lidar(lidar)
    return clip if sensor is None else clip.with_lidar(sensor=sensor)


def _choose(path: Path, format: str | None) -> tuple[ModuleType, str | None]:
    """Return the reader, and a remark where it goes by the kind of the files alone."""
    known = find_readers()
    if format is not None and format not in known:
        raise UserError(f"unknown format {format!r}: known are {', '.join(known)}")
    asked = known if format is None else {format: known[format]}
    strengths = {name: strength_of(module.recognise(path)) for name, module in asked.items()}
    best = max(strengths.values())
    if best == Strength.NONE:
        raise _not_recognised(path, format, asked)
    found = [name for name, strength in strengths.items() if strength == best]
    if format is not None:
        return known[format], None
    if best == Strength.GENERIC:
        _refuse_look_alike(path, found)
    if len(found) > 1:
        names = ", ".join(found)
        problem = f"more than one reader recognizes this: {names}"
        raise DataError(problem, file=path, wanted=f"--format with one of {names}")
    reader = known[found[0]]
    if best == Strength.EXACT:
        return reader, None
    assumed = getattr(reader, "ASSUMED", reader.DESCRIPTION)
    return reader, f"recognized by the kind of its files alone and read as {found[0]}: {assumed}"


def _not_recognised(path: Path, format: str | None, asked: dict[str, ModuleType]) -> DataError:
    problem = "not recognized as a dataset" if format is None else f"not recognized as {format}"
    dataset = look_alike(path)
    if dataset is not None:
        problem += f"; its names are those of {dataset}"
    if format is not None:
        return DataError(problem, file=path, wanted=f"this layout\n{_layout(asked[format])}")
    formats = "\n".join(f"  {name}: {module.DESCRIPTION}" for name, module in asked.items())
    wanted = f"one of these formats; with --format NAME the files that one has are listed\n{formats}"
    return DataError(f"{problem}: it holds {_content(path)}", file=path, wanted=wanted)


def _content(path: Path) -> str:
    """Return what a folder holds, in a few words: the usual endings of its files, and the number of its folders."""
    if not path.is_dir():
        return f"no recording, a file {path.suffix or 'without an ending'}"
    entries = list(islice(path.iterdir(), _MOST_ENTRIES))
    folders = sum(entry.is_dir() for entry in entries)
    endings = Counter(entry.suffix.lower() or "without an ending" for entry in entries if not entry.is_dir())
    parts = [f"{count} files {ending}" if count > 1 else f"a file {ending}" for ending, count in endings.most_common(3)]
    parts += ["a folder" if folders == 1 else f"{folders} folders"] * (folders > 0)
    return ", ".join(parts) or "nothing"


def _refuse_look_alike(path: Path, found: list[str]) -> None:
    dataset = look_alike(path)
    if dataset is None:
        return
    problem = f"this looks like {dataset}, for which there is no reader"
    wanted = f"a reader of {dataset}; --format {found[0]} reads its files as if they were those of {found[0]}"
    raise DataError(problem, file=path, wanted=wanted)


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
