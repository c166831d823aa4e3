"""Which files of PhysicalAI-Autonomous-Vehicles belong to which clip: folders of clips, unpacked trees, chunk zips.

Names alone tell, wherever the files lie below the folder that is given: ``CLIP.FEATURE[.KIND].parquet`` and
``CLIP.CAMERA.mp4`` belong to a clip, unpacked or in ``FEATURE.chunk_NNNN.zip``, and
``TABLE[.offline][.chunk_NNNN].parquet`` are the tables of calibration.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cosmos_lidar.clips.spans import FileSpan, zip_members

LIDAR = "lidar_top_360fov"
FIRST_CAMERA = "camera_front_wide_120fov"
OFFLINE = ".offline"
_DEPTH = 4  # folders below the one that is given
_OF_CLIP = re.compile(
    r"(?P<clip>[^./]+)\.(?P<feature>lidar_top_360fov|camera_\w+|(?:egomotion|obstacle)(?:\.offline)?)"
    r"(?P<kind>\.timestamps)?\.(?:parquet|mp4)"
)
_TABLE = re.compile(
    r"(?P<table>(?:camera_intrinsics|sensor_extrinsics|vehicle_dimensions|lidar_intrinsics)(?:\.offline)?)"
    r"(?:\.chunk_(?P<chunk>\d+))?\.parquet"
)
_CHUNK = re.compile(
    r"(?P<feature>lidar_top_360fov|camera_\w+|(?:egomotion|obstacle)(?:\.offline)?)\.chunk_(?P<chunk>\d+)\.zip"
)
# Below a folder that a user may name: the clip, a folder of clips, the dataset, its part with the lidar.
_PATTERNS = (
    f"lidar/*.{LIDAR}.parquet",
    f"*/lidar/*.{LIDAR}.parquet",
    f"lidar/{LIDAR}/*{LIDAR}*",
    f"{LIDAR}/*{LIDAR}*",
    f"{LIDAR}.chunk_*.zip",
    f"*.{LIDAR}.parquet",
    f"camera/*.{FIRST_CAMERA}.timestamps.parquet",
    f"*/camera/*.{FIRST_CAMERA}.timestamps.parquet",
    f"camera/{FIRST_CAMERA}/*{FIRST_CAMERA}*",
)
_OF_LIDAR = re.compile(rf"[^./]+\.{LIDAR}\.parquet|{LIDAR}\.chunk_\d+\.zip")


@dataclass
class Files:
    """The files of the clips of one folder.

    Attributes:
        clips: clip -> feature -> file; features are ``lidar_top_360fov``, ``egomotion`` and ``obstacle`` (also
            ``.offline``), and per camera its name for the video and its name with ``.timestamps``.
        chunks: clip -> number of its chunk, where the names of zips tell.
        tables: name, such as ``sensor_extrinsics.offline`` -> (number of the chunk or None, file).
    """

    clips: dict[str, dict[str, FileSpan]] = field(default_factory=dict)
    chunks: dict[str, int] = field(default_factory=dict)
    tables: dict[str, list[tuple[int | None, FileSpan]]] = field(default_factory=dict)

    def tables_of(self, clip: str, name: str) -> Iterator[tuple[str, FileSpan]]:
        """Yield (name, file) of the tables that may have rows of a clip, ``.offline`` ones first."""
        chunk = self.chunks.get(clip)
        for variant in (name + OFFLINE, name):
            for number, file in self.tables.get(variant, ()):
                if chunk is None or number in (None, chunk):
                    yield variant, file


def is_layout(path: Path) -> bool:
    """Return whether a path has the names of this dataset."""
    if path.is_file():
        return _OF_LIDAR.fullmatch(path.name) is not None
    return any(next(path.glob(pattern), None) is not None for pattern in _PATTERNS)


def find_files(path: Path) -> list[Files]:
    """Return the files of each recording below a path: one of a dataset, one per clip of a folder of clips.

    Of one file of the lidar, a clip's or a chunk's, only its clips are kept.

    Raises:
        DataError: a zip cannot be read.
    """
    if path.is_file():
        return [_with_clips_of(_scan(_root_of(path)), path)]
    folders = [] if _is_root(path) else [one for one in sorted(path.iterdir()) if one.is_dir() and _is_root(one)]
    return [_scan(folder) for folder in folders or [_root_of(path / "any")]]


def _is_root(path: Path) -> bool:
    return (path / "lidar").is_dir() or (path / "camera").is_dir()


def _root_of(path: Path) -> Path:
    """Return the folder that also holds calibration and labels of a file, or of what lies in a folder."""
    folder = path.parent
    for name in (LIDAR, "lidar"):
        folder = folder.parent if folder.name == name else folder
    return folder


def _scan(root: Path) -> Files:
    files = Files()
    for path in _walk(root):
        chunk = _CHUNK.fullmatch(path.name)
        if chunk:
            for span in zip_members(path):
                _add(files, str(span.member).rsplit("/", 1)[-1], span, int(chunk["chunk"]))
        else:
            _add(files, path.name, FileSpan(path), None)
    return files


def _walk(root: Path) -> Iterator[Path]:
    """Yield the files below a folder, in order."""
    for folder, names, files in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        names[:] = sorted(name for name in names if not name.startswith(".")) if depth < _DEPTH else []
        yield from (Path(folder, name) for name in sorted(files) if not name.startswith("."))


def _add(files: Files, name: str, span: FileSpan, chunk: int | None) -> None:
    found = _OF_CLIP.fullmatch(name)
    if found:
        feature = found["feature"] + (found["kind"] or "")
        files.clips.setdefault(found["clip"], {}).setdefault(feature, span)
        if chunk is not None:
            files.chunks[found["clip"]] = chunk
    table = _TABLE.fullmatch(name)
    if table:
        number = None if table["chunk"] is None else int(table["chunk"])
        files.tables.setdefault(table["table"], []).append((number, span))


def _with_clips_of(files: Files, path: Path) -> Files:
    clips = {name: spans for name, spans in files.clips.items() if LIDAR in spans and spans[LIDAR].path == path}
    return Files(clips, files.chunks, files.tables)
