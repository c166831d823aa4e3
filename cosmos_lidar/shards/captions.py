"""Captions of clips of several cameras: one for all, files, or a file with a line for each view; prefix sentences."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from cosmos_lidar.bounds import read_file
from cosmos_lidar.clips.files import clean_id
from cosmos_lidar.clips.view_ids import FRONT
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import parse_json, read_text, visible_files
from cosmos_lidar.shards.multiview import CAPTION

_LARGEST = 1 << 20  # bytes of a file of captions
# What a caption of each view begins with where every view has one, by view id.
_LOOKS = {
    0: "straight ahead",
    1: "ahead and to the right",
    2: "to the right",
    3: "backward",
    4: "to the left",
    5: "ahead and to the left",
    6: "far ahead through a narrow lens",
}


def prefix_sentences(views: Mapping[str, int]) -> dict[str, str]:
    """Return a sentence about each camera: where it looks.

    Args:
        views: camera -> view id.
    """
    looks = {name: _LOOKS.get(number, f"along direction {number} of the vehicle") for name, number in views.items()}
    return {name: f"A camera on a car looks {look}." for name, look in looks.items()}


def join_prefix(prefix: str, caption: str) -> str:
    """Return a prefix sentence and a caption as one text."""
    return " ".join(part for part in (prefix.strip(), caption.strip()) if part)


@dataclass(frozen=True)
class ClipCaptions:
    """Captions by clip and camera.

    Attributes:
        everywhere: caption of the front view of every clip; None for none.
        by_clip: clip id -> its caption (of the front view), or camera -> caption.
        folder: with files ``CAMERA/CLIP.txt``, as the published layout has them, or ``CLIP.txt`` for the front view,
            by :func:`clip_stem`.
        prefixes: camera -> sentence, instead of the usual ones.
    """

    everywhere: str | None = None
    by_clip: Mapping[str, str | Mapping[str, str]] = field(default_factory=dict)
    folder: Path | None = None
    prefixes: Mapping[str, str] = field(default_factory=dict)

    def of(self, clip_id: str, camera: str, view_id: int) -> str | None:
        """Return the caption of a camera, or None where it has none.

        Raises:
            DataError: a file cannot be read.
        """
        found = self._given(clip_id, camera, view_id)
        return self.everywhere if found is None and view_id == FRONT else found

    def _given(self, clip_id: str, camera: str, view_id: int) -> str | None:
        given = self.by_clip.get(clip_id)
        if isinstance(given, str):
            return given if view_id == FRONT else None
        if given is not None:
            return given.get(camera)
        if self.folder is None:
            return None
        folders = [self.folder / camera, self.folder] if view_id == FRONT else [self.folder / camera]
        stems = [clip_stem(folder, clip_id) for folder in folders]
        files = [stem.with_name(stem.name + CAPTION) for stem in stems]
        path = next((file for file in files if file.is_file()), None)
        return None if path is None else read_caption(path)

    def prefixes_of(self, views: Mapping[str, int]) -> dict[str, str]:
        """Return the prefix sentence of each camera."""
        return prefix_sentences(views) | {name: text for name, text in self.prefixes.items() if name in views}

    def fingerprint(self) -> str:
        """Return digits that change with what is given, beside the files in the folder."""
        given = [self.everywhere, str(self.folder), {name: self.by_clip[name] for name in sorted(self.by_clip)}]
        return hashlib.sha256(json.dumps(given, default=dict).encode()).hexdigest()[:16]


def clip_stem(folder: Path, clip_id: str) -> Path:
    """Return the path, without its ending, of the files of a clip in a folder.

    Files are named by the clip id, or as the recording, whose name can hold dots and white space that its id lacks
    (:func:`~cosmos_lidar.clips.files.clean_id`).
    """
    names = _names_in(folder, folder.stat().st_mtime_ns) if folder.is_dir() else {}
    return folder / names.get(clip_id, clip_id)


@lru_cache(maxsize=64)
def _names_in(folder: Path, mtime_ns: int) -> dict[str, str]:
    """Return clip id -> name of its files without their ending."""
    names = [file.stem for file in visible_files(folder, "*")]
    return {clean_id(name): name for name in names} | {name: name for name in names}


def read_captions(path: Path | None, prompt: str | None = None) -> ClipCaptions:
    """Return the captions in a folder, or in a JSON file.

    Args:
        path: a folder of ``CAMERA/CLIP.txt`` or ``CLIP.txt``; or a ``.json`` file that maps clip ids to captions, or
            to captions by camera; None for none.
        prompt: caption of all clips that have none.

    Raises:
        DataError: it cannot be read.
    """
    if path is None or path.is_dir():
        return ClipCaptions(prompt, folder=path)
    wanted = "a folder of CAMERA/CLIP.txt, or a .json file: {clip: caption} or {clip: {camera: caption}}"
    try:
        document = parse_json(read_text(path))
    except (OSError, ValueError) as error:
        raise DataError(f"captions cannot be read: {error}", file=path, wanted=wanted) from error
    if not isinstance(document, dict) or not all(_is_caption(entry) for entry in document.values()):
        raise DataError("no captions by clip", file=path, wanted=wanted)
    return ClipCaptions(prompt, {clean_id(name): entry for name, entry in document.items()} | document)


def _is_caption(entry: Any) -> bool:
    return isinstance(entry, str) or (isinstance(entry, dict) and all(isinstance(text, str) for text in entry.values()))


def read_prompts(path: Path, views: Sequence[str]) -> list[str]:
    """Return the lines of a prompt file: one for each view, in their order; empty lines at the end are left out.

    Args:
        path: UTF-8 text.
        views: names of the cameras.

    Raises:
        DataError: it cannot be read.
        UserError: more or fewer lines than views.
    """
    lines = read_caption(path).splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    if len(lines) != len(views):
        raise UserError(
            f"{path}: {len(lines)} lines for {len(views)} views: expected one line for each of {', '.join(views)}"
        )
    return [line.strip() for line in lines]


def read_caption(path: Path) -> str:
    """Return the caption in a UTF-8 file, without white space around it.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return decode_caption(read_file(path, "a caption", _LARGEST))
    except DataError as error:
        raise error.at(file=path) from error
    except OSError as error:
        raise DataError(f"not a readable text: {error}", file=path, wanted="UTF-8 text") from error


def decode_caption(content: bytes) -> str:
    """Return the caption in a part of a sample, or in a file, without white space around it.

    Raises:
        DataError: not UTF-8.
    """
    try:
        return content.decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise DataError(f"not a readable caption: {error}", wanted="UTF-8 text") from error
