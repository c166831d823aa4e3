"""Journal of a conversion: which clips of a folder are finished, and of what, one JSON line each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import append_whole, atomic_write, parse_json, read_text

JOURNAL = "convert-clips.jsonl"
_WANTED = "an empty folder, or one in which convert-clips has written the same layout"


@dataclass(frozen=True)
class FinishedClip:
    """A clip that was written completely.

    Attributes:
        clip: id.
        state: of the files and options that it was made of.
        frames: in it.
        files: name relative to the folder -> bytes.
        lost: value -> what of it the layout does not hold.
    """

    clip: str
    state: str
    frames: int
    files: dict[str, int]
    lost: dict[str, str] = field(default_factory=dict)

    def is_there(self, folder: Path) -> bool:
        """Return whether all its files are there, as long as they were."""
        return all(_size(folder / name) == size for name, size in self.files.items())


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def make_folder(folder: Path) -> None:
    """Make the folder of a dataset, where it is absent.

    Raises:
        DataError: it is a file, or cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError("this is a file", file=folder, wanted="a folder to write to")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot be made: {error.strerror}", file=folder, wanted="a folder to write to") from error


class ConversionJournal:
    """The finished clips of a folder; each line is on disk before the next clip is.

    Args:
        folder: of the dataset.
        layout: name of the writer.

    Raises:
        DataError: the folder holds something else, another layout, or cannot be written.
    """

    def __init__(self, folder: Path, layout: str) -> None:
        self.file = folder / JOURNAL
        self.finished: dict[str, FinishedClip] = {}
        if self.file.is_file():
            self._read(layout)
            return
        if any(folder.iterdir()):
            raise DataError("the folder holds something else", file=folder, wanted=_WANTED)
        try:
            with atomic_write(self.file) as partial:
                partial.write_text(json.dumps({"layout": layout}) + "\n", encoding="utf-8")
        except OSError as error:
            raise self._refusal(error) from error

    def _read(self, layout: str) -> None:
        text = read_text(self.file)
        complete = text[: text.rfind("\n") + 1]
        try:
            head, *lines = [parse_json(line) for line in complete.splitlines()]
            found = head["layout"]
            entries = [FinishedClip(**line) for line in lines]
            if not all(isinstance(entry.files, dict) and isinstance(entry.clip, str) for entry in entries):
                raise ValueError("a line without files or clip")
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"no journal of convert-clips: {error!s:.120}", file=self.file, wanted=_WANTED) from error
        if found != layout:
            raise DataError(f"the folder holds the layout {found!r:.40}, not {layout}", file=self.file, wanted=_WANTED)
        if complete != text:  # the machine stopped while a line was written
            with atomic_write(self.file) as partial:
                partial.write_text(complete, encoding="utf-8")
        self.finished = {entry.clip: entry for entry in entries}

    def unchanged(self, folder: Path, states: Mapping[str, str]) -> dict[str, FinishedClip]:
        """Return the finished clips whose files are there and were made of what ``states`` (by clip) says."""
        same = {clip: one for clip, one in self.finished.items() if states.get(clip) == one.state}
        return {clip: one for clip, one in same.items() if one.is_there(folder)}

    def add(self, entry: FinishedClip) -> None:
        """Note a finished clip.

        Raises:
            DataError: it cannot be written.
        """
        try:
            append_whole(self.file, (json.dumps(asdict(entry)) + "\n").encode())
        except OSError as error:
            raise self._refusal(error) from error
        self.finished[entry.clip] = entry

    def _refusal(self, error: OSError) -> DataError:
        problem = f"cannot be written: {error.strerror or error}"
        return DataError(problem, file=self.file, wanted="a writable folder with room")
