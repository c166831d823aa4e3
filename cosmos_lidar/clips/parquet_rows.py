"""Rows of large Parquet tables, one at a time: lists as arrays, and bytes; made for reading rows in their order.

A table is read page by page, and the next row continues where the last one ended. Going back decodes the row group from
its start: the format has no way to a row inside a group.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.bounds import expect_size
from cosmos_lidar.clips.parquet import opened, row_group
from cosmos_lidar.clips.spans import FileSpan
from cosmos_lidar.errors import DataError


class RowReader:
    """Reads rows of some columns of a file; picklable, and safe in threads and after a fork.

    Args:
        path: of the file.
        names: of the columns; those that the file lacks are None in every row.
        clip: for messages.
    """

    def __init__(self, path: Path, names: tuple[str, ...], clip: str | None = None) -> None:
        self.path, self.names, self.clip = path, names, clip
        self._lock = threading.Lock()
        self._batches: Iterator[Any] = iter(())
        self._process, self._next, self._end = -1, 0, 0

    def __reduce__(self) -> tuple:
        """Pickle what the reader was made of: another process starts at its own place."""
        return RowReader, (self.path, self.names, self.clip)

    def __call__(self, row: int) -> dict[str, Any]:
        """Return name -> array of a list, bytes, or None of a row.

        Raises:
            DataError: not a Parquet file, damaged, no such row, or larger than the limit.
            UserError: pyarrow is not installed.
        """
        with self._lock:
            try:
                batch = self._batch(row)
            except BaseException:
                self._end = 0  # the next call opens the file again
                raise
        key = f"row {row}"
        expect_size(batch.nbytes, "a row", file=self.path, clip=self.clip, key=key)
        found = dict.fromkeys(self.names)
        found.update({name: self._cell(batch.column(at)[0], f"{name}, {key}") for at, name in
                      enumerate(batch.schema.names)})  # fmt: skip
        return found

    def _batch(self, row: int) -> Any:
        if self._process != os.getpid() or not self._next <= row < self._end:
            self._start(row)
        while True:
            batch = next(self._batches, None)
            if batch is None:
                raise self._error(f"no row {row}", "a complete table")
            self._next += 1
            if self._next > row:
                return batch

    def _start(self, row: int) -> None:
        """Go to the row group that holds a row."""
        source = FileSpan(self.path)
        with opened(source, self.clip) as file:
            group, before = row_group(file.metadata, row)
            if group is None:
                raise self._error(f"{file.metadata.num_rows} rows, no row {row}", "a complete table")
            self._next, self._end = before, before + file.metadata.row_group(group).num_rows
        self._batches, self._process = self._read(source, group), os.getpid()

    def _read(self, source: FileSpan, group: int) -> Iterator[Any]:
        with opened(source, self.clip) as file:
            there = [name for name in self.names if name in file.schema_arrow.names]
            yield from file.iter_batches(1, row_groups=[group], columns=there, use_threads=False)

    def _cell(self, scalar: Any, key: str) -> Any:
        value = getattr(scalar, "values", None)
        if value is None:
            value = scalar.as_py()
            if value is None or isinstance(value, bytes):
                return value
            raise self._error(f"a {scalar.type}", "a list of numbers, or bytes", key)
        array = value.to_numpy(zero_copy_only=False)
        if array.dtype.kind not in "iuf":
            raise self._error(f"a list of {value.type}", "numbers", key)
        return np.asarray(array)

    def _error(self, problem: str, wanted: str, key: str | None = None) -> DataError:
        return DataError(problem, file=self.path, clip=self.clip, key=key, wanted=wanted)
