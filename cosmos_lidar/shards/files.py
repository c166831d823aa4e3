"""Atomic writing of shards and documents, and the journal of finished shards for resuming."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import atomic_write
from cosmos_lidar.log import logger
from cosmos_lidar.shards.sweeps import BadFrame, PackedRun


@dataclass(frozen=True)
class ShardRecord:
    """A finished shard as the journal and the manifest know it.

    Attributes:
        name: file name; a shard of which no frame could be read has no file and 0 bytes.
        split: train, val or test.
        bytes: size of the file.
        sha256: of the file.
        samples: samples in it.
        frames: frames in it.
        clips: clip id -> frames in this shard.
        beyond_max_range: returns farther than the sensor's reach, stored as "no return".
        bad_frames: frames left out.
        sources: state of the files that it is made of; empty where it was not taken down.
    """

    name: str
    split: str
    bytes: int
    sha256: str
    samples: int
    frames: int
    clips: dict[str, int]
    beyond_max_range: int = 0
    bad_frames: list[BadFrame] = field(default_factory=list)
    sources: str = ""

    @classmethod
    def from_json(cls, document: dict) -> ShardRecord:
        """Build the record from what ``dataclasses.asdict`` gave."""
        return cls(**{**document, "bad_frames": [BadFrame(**bad) for bad in document["bad_frames"]]})


class _Hashing:
    """A file with the sha256 and the size of what was written to it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest, self.size = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        self.size += len(data)
        return self.file.write(data)

    def tell(self) -> int:
        return self.size


def claim_folder(folder: Path, begun: bool) -> None:
    """Make a folder for shards, or take the one that is there.

    Args:
        folder: output; missing folders above it are made, too.
        begun: shards were begun there, so that it need not be empty.

    Raises:
        DataError: it holds something else, is a file, or cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError("this is a file", file=folder, wanted="a folder to write to")
    if not begun and folder.is_dir() and any(folder.iterdir()):
        raise DataError("the folder is not empty", file=folder, wanted="an empty folder, or one that is not there")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot be made: {error.strerror}", file=folder, wanted="a folder to write to") from error


def write_tar(path: Path, samples: Iterable[PackedRun]) -> tuple[int, str]:
    """Write samples to a tar that appears under its name only when it is whole and on disk.

    The bytes depend on the samples alone: no times, owners or rights of this machine.

    Returns:
        Size in bytes and sha256.

    Raises:
        DataError: the disk is full, or another failure to write.
    """
    with _whole_or_nothing(path) as file:
        hashing = _Hashing(file)
        fileobj: Any = hashing  # a tar is written with write and tell alone
        with tarfile.open(fileobj=fileobj, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for sample in samples:
                for part, data in sample.parts.items():
                    info = tarfile.TarInfo(f"{sample.key}.{part}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return hashing.size, hashing.digest.hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a small file that is there whole or not at all; raises DataError as :func:`write_tar`."""
    with _whole_or_nothing(path) as file:
        file.write(text.encode())


@contextmanager
def _whole_or_nothing(path: Path) -> Iterator[BinaryIO]:
    try:
        with atomic_write(path, sync=True) as partial, partial.open("wb") as file:
            yield file
    except OSError as error:
        raise _cannot_write(error, path) from error


def _cannot_write(error: OSError, path: Path) -> DataError:
    wanted = "free space and the right to write there; then run the same command again: finished shards are kept"
    return DataError(f"cannot write: {error.strerror or error}", file=path, wanted=wanted)


class Journal:
    """Which shards are finished, one JSON line each, on disk before the next begins.

    Args:
        path: the journal; made when absent.
        fingerprint: of the plan that is carried out.

    Raises:
        DataError: the journal is of another plan, or not a journal.
    """

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path = path
        self.finished: dict[str, ShardRecord] = {}
        lines = self._read()
        if not lines:
            write_text(path, json.dumps({"plan": fingerprint}) + "\n")
            return
        if lines[0].get("plan") != fingerprint:
            raise DataError(
                "the folder holds shards of other clips or other options",
                file=path,
                wanted="an empty folder, or the command that was started here",
            )
        self.finished = {line["name"]: ShardRecord.from_json(line) for line in lines[1:]}

    def _read(self) -> list[dict]:
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8", errors="replace")
        complete = text[: text.rfind("\n") + 1]
        if complete != text:  # the machine stopped while a line was written
            write_text(self.path, complete)
        try:
            return [json.loads(line) for line in complete.splitlines()]
        except ValueError as error:
            raise DataError(f"not a journal: {error}", file=self.path, wanted="an empty folder") from error

    def add(self, record: ShardRecord) -> None:
        """Note that a shard is finished.

        Raises:
            DataError: the disk is full, or another failure to write.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(record)) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise _cannot_write(error, self.path) from error
        self.finished[record.name] = record


def drop_changed(folder: Path, journal: Journal, states: Mapping[str, str], document: str) -> None:
    """Forget finished shards that were damaged since, or whose sources have changed.

    Args:
        folder: of the shards.
        journal: of finished ones.
        states: name of a shard -> state of what it is made of, now.
        document: name of the file whose presence marks a finished folder; it is removed with the first such shard.
    """
    for record in list(journal.finished.values()):
        shard = folder / record.name
        if record.bytes and not (shard.is_file() and shard.stat().st_size == record.bytes):
            logger.warning("%s was changed or cut since it was written: writing it again", shard)
        elif record.sources and record.sources != states.get(record.name):
            logger.warning("the sources of %s have changed: writing it again", shard)
            shard.unlink(missing_ok=True)
        else:
            continue
        (folder / document).unlink(missing_ok=True)
        del journal.finished[record.name]
