"""``metrics.csv`` of a run: rows are appended whole, and kept in memory for as long as the disk does not take them."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from cosmos_lidar.files import append_whole, atomic_write, read_rows, write_may_fail

_MOST_WAITING = 100_000  # rows


class MetricsFile:
    """Append rows to a CSV file; a disk that is full, read-only or gone delays them and never raises.

    Args:
        path: of the file.
        columns: its header.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.path, self.columns = path, columns
        self._waiting: deque[dict[str, object]] = deque(maxlen=_MOST_WAITING)
        self._restart_at: int | None = None  # rows after this step are still to be dropped

    def append(self, row: Mapping[str, object]) -> None:
        """Write a row, after those that could not be written before."""
        self._waiting.append(dict(row))
        self._write()

    def drop_after(self, step: int) -> None:
        """Begin the file: keep the rows up to ``step`` of an earlier one, and drop later ones."""
        kept = [row for row in self._waiting if int(str(row["step"])) <= step]
        self._waiting = deque(kept, maxlen=_MOST_WAITING)
        self._restart_at = step if self._restart_at is None else min(step, self._restart_at)
        self._write()

    def _write(self) -> None:
        then = f"{len(self._waiting)} rows are kept in memory until it can; the run goes on"
        with write_may_fail(str(self.path), then):
            if self._restart_at is not None:
                self._restart(self._restart_at)
                self._restart_at = None
            if self._waiting:
                append_whole(self.path, self._text(self._waiting, "raise").encode())
                self._waiting.clear()

    def _restart(self, step: int) -> None:
        rows = read_metrics(self.path) if step and self.path.exists() else []
        kept = [row for row in rows if int(row["step"]) <= step]
        header = dict(zip(self.columns, self.columns, strict=True))
        with atomic_write(self.path, sync=True) as partial:
            partial.write_text(self._text([header, *kept], "ignore"), encoding="utf-8", newline="")

    def _text(self, rows: Iterable[Mapping[str, object]], extra: Literal["raise", "ignore"]) -> str:
        stream = io.StringIO(newline="")
        csv.DictWriter(stream, self.columns, restval="", extrasaction=extra).writerows(rows)
        return stream.getvalue()


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Return the rows of a ``metrics.csv``; a value that a row does not have is an empty text."""
    return [row for row in read_rows(path) if row.get("step", "").isdigit()]
