"""Folders of nuPlan and NAVSIM: which logs have sensor data, and where the records of each log are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CLOUDS = "MergedPointCloud"
_LOG = re.compile(r"\d{4}(\.\d\d){5}_veh-(\d+)_\d+_\d+")
_SENSORS = ("", "*", "sensor_blobs/*", "sensor_blobs/*/*", "*/*", "*/sensor_blobs/*", "*/sensor_blobs/*/*")
_RECORDS = ("*.db", "splits/*.db", "splits/*/*.db", "mini/*.db", "test/*.db", "trainval/*.db", "train/*.db", "val/*.db",
            "*.pkl", "navsim_logs/*.pkl", "navsim_logs/*/*.pkl")  # fmt: skip
_ABOVE = 3  # folders above that of a log, or above its database, in which the other one is looked for


@dataclass(frozen=True)
class LogFiles:
    """A log with sensor data.

    Attributes:
        folder: of the sensors, such as ``sensor_blobs/LOG``.
        records: database, or pickled frames of NAVSIM; None where there are none.
    """

    folder: Path
    records: Path | None

    @property
    def vehicle(self) -> str | None:
        """Number of the vehicle, by the name of the log."""
        match = _LOG.fullmatch(self.folder.name)
        return None if match is None else match[2]


def has_logs(path: Path) -> bool:
    """Return whether a path holds sensor data of a log, or is one of its databases."""
    if path.is_file():
        return path.suffix == ".db" and _LOG.fullmatch(path.stem) is not None
    return next(_folders(path), None) is not None or _databases_alone(path)


def find_logs(path: Path) -> list[LogFiles]:
    """Return the logs with sensor data at a path, by name; () where there are databases alone."""
    path = path.resolve()
    if path.is_file():
        folders = [folder for above in path.parents[:_ABOVE] for folder in _blobs(above, path.stem)]
        return [LogFiles(folder, path) for folder in folders[:1]]
    folders = sorted(_folders(path), key=lambda folder: folder.name)
    records = _records(folders)
    return [LogFiles(folder, records.get(folder.name)) for folder in folders]


def _folders(path: Path) -> Iterator[Path]:
    """Yield the folders of logs at the first of the usual places that has any."""
    if path.name == CLOUDS or (path.name.startswith("CAM_") and _LOG.fullmatch(path.resolve().parent.name)):
        path = path.resolve().parent
    for pattern in _SENSORS:
        found = (folder for folder in (path.glob(pattern) if pattern else [path]) if _is_log(folder))
        first = next(found, None)
        if first is not None:
            yield first
            yield from found
            return


def _is_log(folder: Path) -> bool:
    if folder.name.startswith("."):
        return False
    return (folder / CLOUDS).is_dir() or (
        _LOG.fullmatch(folder.name) is not None and folder.is_dir() and any(folder.glob("CAM_[A-Z][0-9]"))
    )


def _databases_alone(path: Path) -> bool:
    patterns = ("*.db", "*/*.db", "splits/*/*.db", "*/splits/*/*.db")
    return any(_LOG.fullmatch(file.stem) for pattern in patterns for file in path.glob(pattern))


def _blobs(above: Path, name: str) -> list[Path]:
    found = [above / name, above / "sensor_blobs" / name, *(above / "sensor_blobs").glob(f"*/{name}")]
    return [folder for folder in found if _is_log(folder)]


def _records(folders: list[Path]) -> dict[str, Path]:
    """Return name of a log -> its database, or pickled frames where there is none."""
    wanted = {folder.name for folder in folders}
    places = dict.fromkeys(above for folder in folders for above in folder.parents[:_ABOVE])
    found: dict[str, Path] = {}
    for pattern in _RECORDS:
        for place in places:
            for file in sorted(place.glob(pattern)):
                if file.stem in wanted:
                    found.setdefault(file.stem, file)
    return found
