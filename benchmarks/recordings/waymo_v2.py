"""A Waymo v2 segment: the same recording as that of v1, in parquet components."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from cosmos_lidar.clips import Clip
from recordings import waymo
from recordings.street import Read, Street
from tests.clips.readers.waymo_records import write_components


def write(root: Path, street: Street) -> Path:
    """Write components with one frame of the five lidars per row group."""
    return write_components(root / "training", waymo.recording(street), row_group_size=5)


def reads(clip: Clip) -> list[Read]:
    """Return TOP with both returns, in order, beside pyarrow on the same rows of its components."""
    lidar = clip.lidars["TOP"]
    read, rows = lidar.read, lidar.read.rows
    tables = {name: getattr(read.tables, name) for name in ("lidar", "poses", "labels")}

    def decode(index: int) -> list[object]:
        found = []
        for name, table in tables.items():
            row = rows[name][index]
            if table is not None and row is not None:
                found.append(_row(table.path, table.names, row))
        return found

    return [Read("TOP", read, len(lidar), decode, "parquet")]


def _row(path: Path, names: tuple[str, ...], row: int) -> object:
    file = pq.ParquetFile(path)
    at = 0
    for group in range(file.metadata.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if row < at + count:
            there = [name for name in names if name in file.schema_arrow.names]
            batches = file.iter_batches(1, row_groups=[group], columns=there, use_threads=False)
            return next(batch for number, batch in enumerate(batches) if number == row - at)
        at += count
    raise IndexError(row)
