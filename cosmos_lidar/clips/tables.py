"""Tables of text: rows of words between commas, semicolons or blanks, with or without a line of names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.stamps import is_number
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import read_text

_UNIT = re.compile(r"^(.*?)[ _]*[\[(]([a-z]+)[\])]$")


@dataclass(frozen=True)
class TextTable:
    """Rows of words of a file; all rows have as many.

    Attributes:
        file: for messages.
        names: of the columns, in lower case, a unit in brackets moved behind ``_``; empty where the file has none.
        rows: words.
    """

    file: Path
    names: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def numbers(self, clip: str | None = None) -> np.ndarray:
        """Return (rows, columns) float64.

        Raises:
            DataError: a word is no finite number.
        """
        found = np.empty((len(self.rows), len(self.rows[0])))
        for number, row in enumerate(self.rows):
            try:
                found[number] = [float(word) for word in row]
                if not np.isfinite(found[number]).all():
                    raise ValueError("not finite")
            except ValueError as error:
                key = f"row {number + 1}"
                raise DataError(f"{error!s:.80}", file=self.file, clip=clip, key=key, wanted="numbers") from error
        return found


def read_table(file: Path, clip: str | None = None) -> TextTable:
    """Return the rows of a text file; a first line whose first word is no number or date names the columns.

    Lines that start with ``#`` are remarks, except for a first one that names as many columns as there are.

    Raises:
        DataError: not UTF-8, empty, or rows of different lengths.
    """
    try:
        lines = [line.strip() for line in read_text(file).removeprefix("\ufeff").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"not readable: {error}", file=file, clip=clip, wanted="a table of text") from error
    rows = [_words(line) for line in lines if line and not line.startswith("#")]
    named = _words(lines[0].lstrip("# ")) if lines and lines[0].startswith("#") else ()
    if rows and not is_number(rows[0][0]) and not rows[0][0][:1].isdecimal():
        named = rows.pop(0)
    if not rows:
        raise DataError("no row in it", file=file, clip=clip, wanted="one row per line")
    uneven = next((number for number, row in enumerate(rows) if len(row) != len(rows[0])), None)
    if uneven is not None:
        problem, key = f"{len(rows[uneven])} words, {len(rows[0])} in the first", f"row {uneven + 1}"
        raise DataError(problem, file=file, clip=clip, key=key, wanted="rows of the same length")
    names = tuple(_UNIT.sub(r"\1_\2", word.lower()) for word in named)
    return TextTable(file, names if len(names) == len(rows[0]) else (), tuple(rows))


def _words(line: str) -> tuple[str, ...]:
    """Return the words of a line; a date and its time of day are one."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d[ T][\d:.]+", line):
        return (line,)
    if "," in line or ";" in line:
        return tuple(word.strip() for word in re.split("[,;]", line))
    return tuple(line.split())
