"""Parquet files (extra ``parquet``): columns of tables, and single cells of large ones; sizes are bounded first.

Strings and bytes are taken a few rows at a time and counted, as a dictionary page can promise far more than the file
has. Within one page the format itself allows at most 2 GiB.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from cosmos_lidar.bounds import expect_size
from cosmos_lidar.clips.spans import FileSpan
from cosmos_lidar.errors import DataError
from cosmos_lidar.extras import require

_BATCH = 64  # rows
_BUFFER = 1 << 18  # bytes, of a column that is streamed


def column_names(source: FileSpan, clip: str | None = None) -> list[str]:
    """Return the names of the columns.

    Raises:
        DataError: not a Parquet file.
    """
    with opened(source, clip) as file:
        return list(file.schema_arrow.names)


def read_columns(source: FileSpan, names: Iterable[str], clip: str | None = None) -> dict[str, list[Any]]:
    """Return the values of columns, as Python has them; of ``names`` those that are there.

    Args:
        source: the file.
        names: of columns.
        clip: for messages.

    Raises:
        DataError: not a Parquet file, damaged, or larger than the limit.
        UserError: pyarrow is not installed.
    """
    with opened(source, clip) as file:
        there = [name for name in names if name in file.schema_arrow.names]
        found: dict[str, list[Any]] = {name: [] for name in there}
        rows = file.metadata.num_rows
        where: dict[str, Any] = {"file": source.path, "clip": clip, "key": source.member}
        expect_size(16 * rows * max(len(there), 1), f"a table of {rows} rows", **where)
        total = 0
        for batch in file.iter_batches(_BATCH, columns=there, use_threads=False) if there else ():
            total += batch.nbytes
            expect_size(total, "the columns of a table", **where)
            for name in there:
                found[name] += batch.column(name).to_pylist()
    return found


def read_cell(source: FileSpan, name: str, row: int, clip: str | None = None) -> bytes:
    """Return the bytes in one row of a column; only its row group is read, up to that row.

    Args:
        source: the file.
        name: of the column.
        row: its number in the file.
        clip: for messages.

    Raises:
        DataError: no such column or row, other values than bytes, damaged, or larger than the limit.
        UserError: pyarrow is not installed.
    """
    wanted = "a column of bytes"
    key = f"{name}, row {row}"
    with opened(source, clip) as file:
        if name not in file.schema_arrow.names:
            raise DataError("no such column", file=source.path, clip=clip, key=name, wanted=wanted)
        group, before = row_group(file.metadata, row)
        if group is None:
            raise DataError(f"{file.metadata.num_rows} rows", file=source.path, clip=clip, key=key, wanted="more rows")
        batches = file.iter_batches(1, row_groups=[group], columns=[name], use_threads=False)
        cell = next((batch for number, batch in enumerate(batches) if number == row - before), None)
        if cell is not None:
            expect_size(cell.nbytes, "a cell", file=source.path, clip=clip, key=key)
        content = None if cell is None else cell.column(0)[0].as_py()
    if not isinstance(content, bytes):
        raise DataError(f"a {type(content).__name__}", file=source.path, clip=clip, key=key, wanted=wanted)
    return content


def numbers(values: Sequence[Any], dtype: type, key: str, source: FileSpan, clip: str | None = None) -> np.ndarray:
    """Return a column of numbers as an array.

    Raises:
        DataError: missing values, other values than numbers, not finite, or too large for ``dtype``.
    """
    whole = np.issubdtype(dtype, np.integer)
    odd = [value for value in values if isinstance(value, bool) or not isinstance(value, int | float)]
    array = np.zeros(0) if odd else np.array(values)
    if odd:
        problem = f"{odd[0]!r:.60} in it"
    elif array.dtype.kind not in "iuf" or not np.isfinite(array).all() or (abs(array.astype(float)) >= 2.0**62).any():
        problem = "not finite, or too large"
    elif whole and (array != np.floor(array)).any():
        problem = "fractions in it"
    else:
        return array.astype(dtype)
    wanted = "whole numbers" if whole else "finite numbers"
    raise DataError(problem, file=source.path, clip=clip, key=key, wanted=wanted)


def row_group(metadata: Any, row: int) -> tuple[int | None, int]:
    """Return the row group that holds a row, and how many rows lie before it."""
    before = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if before <= row < before + rows:
            return group, before
        before += rows
    return None, before


@contextmanager
def opened(source: FileSpan, clip: str | None) -> Iterator[Any]:
    """Open a file; what pyarrow raises meanwhile becomes a :class:`DataError`."""
    parquet = require("pyarrow.parquet")
    try:
        with source.open(clip) as stream:
            # Without buffers ahead a column is streamed page by page, not read as a whole.
            yield parquet.ParquetFile(stream, buffer_size=_BUFFER, pre_buffer=False)
    except DataError:
        raise
    except Exception as error:  # Arrow has a dozen classes, some of them OSError, KeyError, MemoryError
        problem = f"not a readable Parquet file: {error!s:.200}"
        key = source.member
        raise DataError(problem, file=source.path, clip=clip, key=key, wanted="a complete Parquet file") from error
