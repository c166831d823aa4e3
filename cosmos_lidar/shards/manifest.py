"""Manifest of a folder of shards (``manifest.json``), and Energon's index."""

from __future__ import annotations

import contextlib
import io
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from cosmos_lidar import __version__
from cosmos_lidar.errors import DataError
from cosmos_lidar.extras import require
from cosmos_lidar.files import parse_json, read_text
from cosmos_lidar.sensors.sensor import Sensor
from cosmos_lidar.shards.files import ShardRecord, write_text
from cosmos_lidar.shards.sweeps import SAMPLE_TYPE

MANIFEST = "manifest.json"
SENSORS = "sensors"
ENERGON = ".nv-meta"
_JOURNAL = ".journal.jsonl"  # NAME.journal.jsonl beside NAME.json; prepare.journal.jsonl beside the manifest
_VERSION = 1
_DATASET_YAML = """\
__module__: megatron.energon
__class__: CrudeWebdataset
subflavors:
  sample_type: {sample_type}
"""


@dataclass(frozen=True)
class Manifest:
    """Content of a finished folder of shards.

    Attributes:
        fingerprint: of the plan.
        splits: split name -> clip ids.
        sensors: sensor files, relative to the folder.
        shards: in the order of writing, without those that hold no frame.
        frames_per_sample: most frames in one sample.
    """

    fingerprint: str
    splits: dict[str, list[str]]
    sensors: list[str]
    shards: list[ShardRecord]
    frames_per_sample: int

    def of_split(self, split: str) -> list[ShardRecord]:
        """Return the shards of one split."""
        return [shard for shard in self.shards if shard.split == split]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``, last of all: its presence marks a finished folder."""
    document = {"version": _VERSION, "tool": f"cosmos_lidar {__version__}", **asdict(manifest)}
    write_text(folder / MANIFEST, json.dumps(document, indent=1) + "\n")


def read_manifest(folder: str | Path) -> Manifest:
    """Read ``manifest.json`` of a folder of shards.

    Raises:
        DataError: no such folder, not a finished folder of shards, or a broken or newer manifest.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not folder.is_dir():
        raise DataError("no such folder", file=folder, wanted="a folder made by `cosmos-lidar prepare`")
    if not path.is_file():
        started = is_unfinished(folder)
        unfinished = "`cosmos-lidar prepare` or `encode-views` was not finished here"
        problem = unfinished if started else f"no {MANIFEST} in it"
        wanted = "run the same command again" if started else "a folder made by `cosmos-lidar prepare SRC OUT`"
        raise DataError(problem, file=folder, wanted=wanted)
    state = path.stat()
    return _parsed(path, state.st_mtime_ns, state.st_size, state.st_ino)


@lru_cache(maxsize=64)  # one start reads it several times: configuration, network, loaders of both splits
def _parsed(path: Path, mtime_ns: int, size: int, inode: int) -> Manifest:
    try:
        document = parse_json(read_text(path))
        version = document.pop("version")
        document.pop("tool")
        document["shards"] = [ShardRecord.from_json(shard) for shard in document["shards"]]
        manifest = Manifest(**document)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"not a readable manifest: {error}", file=path, wanted="prepare the shards again") from error
    if version != _VERSION:
        raise DataError(f"manifest of version {version}", file=path, wanted=f"version {_VERSION}")
    return manifest


def is_unfinished(folder: Path) -> bool:
    """Return whether ``cosmos-lidar prepare`` or ``encode-views`` was started in a folder and not finished."""
    journals = [path.name.removesuffix(_JOURNAL) for path in folder.glob(f"*{_JOURNAL}")]
    finished = (folder / name for name in (MANIFEST, *(f"{name}.json" for name in journals)))
    return bool(journals) and not any(path.is_file() for path in finished)


def name_sensors(sensors: Sequence[Sensor]) -> dict[str, str]:
    """Return fingerprint -> ``sensors/NAME.yaml``; ``sensors/NAME-FINGERPRINT.yaml`` where units of a name differ."""
    kinds = {sensor.fingerprint(): sensor.name for sensor in sensors}
    names = list(kinds.values())
    files = {print_: name if names.count(name) == 1 else f"{name}-{print_}" for print_, name in kinds.items()}
    return {print_: f"{SENSORS}/{file.replace('/', '_')}.yaml" for print_, file in files.items()}


def index_with_energon(folder: Path, names: Sequence[str], workers: int = 1, sample_type: str = SAMPLE_TYPE) -> None:
    """Index shards with Energon: splits from the shards' names, samples as crude dictionaries for a cooker.

    Args:
        folder: of the shards.
        names: of the shards, ``SPLIT-NUMBER.tar``.
        workers: reader processes.
        sample_type: which cooker reads them.

    Raises:
        UserError: Energon is not installed.
        DataError: Energon could not index them, or the disk is full.
    """
    flavors = require("megatron.energon.flavors")
    patterns = [(split, f"{split}-[0-9]+[.]tar$") for split in dict.fromkeys(name.rpartition("-")[0] for name in names)]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            flavors.BaseWebdatasetFactory.prepare_dataset(
                folder,
                list(names),
                split_parts_patterns=patterns,
                shuffle_seed=None,
                workers=workers,
            )
    except (OSError, sqlite3.Error, AssertionError) as error:
        wanted = "free space and intact shards (`cosmos-lidar check`); then run the same command again"
        raise DataError(f"Energon could not index the shards: {error}", file=folder, wanted=wanted) from error
    write_text(folder / ENERGON / "dataset.yaml", _DATASET_YAML.format(sample_type=sample_type))
