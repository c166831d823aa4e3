"""Bags: the files that belong together, their topics, and an index of the messages of sensors."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from cosmos_lidar.clips.readers.rosbag.mcap import McapFile
from cosmos_lidar.clips.readers.rosbag.messages import parse
from cosmos_lidar.clips.readers.rosbag.ros1 import Ros1File
from cosmos_lidar.clips.readers.rosbag.sqlite import SqliteFile
from cosmos_lidar.clips.readers.rosbag.storage import Entry, Head, Storage, Topic, parse_head
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import read_yaml, visible, visible_files

METADATA = "metadata.yaml"
_STORAGES: dict[str, type[Any]] = {".mcap": McapFile, ".db3": SqliteFile, ".bag": Ros1File}
_ENCODINGS = ("cdr", "ros1")
_NEWEST = 9
_SMALL = 1 << 16  # bytes of a message that is not read again
_SPLIT = re.compile(r"(.*)_(\d+)")


@dataclass(frozen=True)
class Message:
    """Where a message of a bag is.

    Attributes:
        file: number of its file.
        entry: place in it.
        head: its header.
    """

    file: int
    entry: Entry
    head: Head


@dataclass(frozen=True)
class Bag:
    """Files that belong together, in the order of time.

    Attributes:
        source: file or folder, for messages.
        files: of it.
        topics: by name.
    """

    source: Path
    files: tuple[Storage, ...]
    topics: dict[str, Topic]

    def index(self, names: Collection[str]) -> dict[str, list[Message]]:
        """Return the messages of topics whose type starts with a header, in the order of the files.

        Raises:
            DataError: a file that is broken, or a message that is too short.
        """
        found: dict[str, list[Message]] = {name: [] for name in names}
        for number, file in enumerate(self.files):
            for entry in file.index(names):
                try:
                    head = parse_head(entry.head, self.topics[entry.topic].encoding)
                except ValueError as error:
                    wanted = self.topics[entry.topic].type
                    raise DataError(str(error), file=file.path, key=entry.topic, wanted=wanted) from error
                found[entry.topic].append(Message(number, entry, head))
        return found

    def messages(self, names: Collection[str]) -> Iterator[tuple[str, int, Any]]:
        """Yield (topic, ns, message) of all messages of topics, in the order of the files.

        Raises:
            DataError: a file or a message that is broken.
        """
        for file in self.files:
            for entry in file.index(names, _SMALL):
                topic = self.topics[entry.topic]
                content = entry.head if len(entry.head) < _SMALL else file.fetch(entry.place)
                message = parse(content, topic.type, topic.encoding, file=file.path, topic=topic.name)
                yield topic.name, entry.time_ns, message


def find_bags(path: Path) -> list[tuple[Path, list[Path]]]:
    """Return the bags at a path, each with its files: a file, a folder of one, or a folder of files or of folders."""
    if path.is_file():
        if path.name == METADATA:
            return find_bags(path.parent)
        return [(path, [path])] if path.suffix in _STORAGES else []
    own = _bags_in(path)
    return own or [bag for folder in visible(path, "*") if folder.is_dir() for bag in _bags_in(folder)]


def _bags_in(folder: Path) -> list[tuple[Path, list[Path]]]:
    files = [file for file in visible_files(folder, "*") if file.suffix in _STORAGES]
    if (folder / METADATA).is_file() and (files or _packed(folder)):
        return [(folder, files)]
    groups: dict[tuple[str, str], list[tuple[int, Path]]] = {}
    for file in files:
        match = _SPLIT.fullmatch(file.stem)
        groups.setdefault((match[1] if match else file.stem, file.suffix), []).append(
            (int(match[2]) if match else 0, file)
        )
    parts = [[file for _, file in sorted(group)] for _, group in sorted(groups.items())]
    return [(folder if len(parts) == 1 and len(part) > 1 else part[0], part) for part in parts]


def _packed(folder: Path) -> list[Path]:
    return [file for ending in ("*.db3.zstd", "*.mcap.zstd") for file in visible_files(folder, ending)]


def open_bag(source: Path, files: list[Path]) -> Bag:
    """Return a bag; a folder's ``metadata.yaml`` gives the order of its files, else their numbers do.

    Raises:
        DataError: unknown version, storage, compression or serialization, or files that are missing or broken.
    """
    if source.is_dir() and (source / METADATA).is_file():
        files = _listed(source / METADATA)
    storages = tuple(_STORAGES[file.suffix](file) for file in files)
    topics: dict[str, Topic] = {}
    for storage in storages:
        for topic in storage.topics():
            before = topics.setdefault(topic.name, topic)
            if (before.type, before.encoding) != (topic.type, topic.encoding):
                problem = f"types {before.type} and {topic.type} of one topic"
                raise DataError(problem, file=storage.path, key=topic.name, wanted="one type")
    strange = next((topic for topic in topics.values() if topic.encoding not in _ENCODINGS), None)
    if strange is not None:
        problem = f"messages serialized as {strange.encoding!r}"
        raise DataError(problem, file=source, key=strange.name, wanted=f"one of {', '.join(_ENCODINGS)}")
    return Bag(source, storages, topics)


def _listed(metadata: Path) -> list[Path]:
    """Return the files that the metadata of a bag name, in order."""
    document = read_yaml(metadata, "metadata of rosbag2")
    try:
        information = document["rosbag2_bagfile_information"]
        version, names = int(information["version"]), [str(name) for name in information["relative_file_paths"]]
        mode = str(information.get("compression_mode") or "none").lower()
        encodings = {
            str(one["topic_metadata"]["name"]): str(one["topic_metadata"]["serialization_format"])
            for one in information["topics_with_message_count"]
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem, key = f"{type(error).__name__} {error}", "rosbag2_bagfile_information"
        raise DataError(problem, file=metadata, key=key, wanted="metadata that rosbag2 wrote") from error
    if not 1 <= version <= _NEWEST:
        raise DataError(f"version {version}", file=metadata, key="version", wanted=f"1 to {_NEWEST}")
    if mode not in ("none", "storage"):
        wanted = "none: `ros2 bag convert` unpacks it"
        raise DataError(f"compression of each {mode}", file=metadata, key="compression_mode", wanted=wanted)
    strange = next((name for name, encoding in encodings.items() if encoding not in _ENCODINGS), None)
    if strange is not None:
        problem = f"messages serialized as {encodings[strange]!r}"
        raise DataError(problem, file=metadata, key=strange, wanted=f"one of {', '.join(_ENCODINGS)}")
    files = [metadata.parent / Path(name).name for name in names]
    for file in files:
        if file.suffix not in _STORAGES:
            raise DataError(f"a storage {file.suffix!r}", file=metadata, key=file.name, wanted=".mcap or .db3")
        if not file.is_file():
            raise DataError("file missing", file=file, wanted=f"the files of {metadata.name}")
    if not files:
        raise DataError("no file", file=metadata, key="relative_file_paths", wanted="at least one")
    return files


@lru_cache(maxsize=8)
def storage_of(path: Path) -> Storage:
    """Return the reader of a file of a bag."""
    return _STORAGES[path.suffix](path)
