"""Measured numbers for a model card, from the JSON files that the commands of evaluation write."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cosmos_lidar.errors import DataError
from cosmos_lidar.files import read_json_object

_LARGEST = 64 << 20  # bytes
_MOST_ROWS = 60
_WANTED = "the JSON of evaluate, evaluate-semseg, reconstruct or generate-lidar, with the protocol of its numbers"
_PARTS = ("pooled", "all_points", "mean")  # of those documents
_LEFT_OUT = ("confusion", "encode_decode_seconds", "seconds")


@dataclass(frozen=True)
class Number:
    """A number of a table; ``low`` and ``high`` are its 95 % interval, None where there is none."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Results:
    """Numbers of one evaluation.

    Attributes:
        name: of the file.
        data: last part of the path of the data; empty where the file does not name it.
        numbers: in the order of the file.
        protocol: everything that the numbers depend on besides network and data.
    """

    name: str
    data: str
    numbers: list[Number]
    protocol: dict[str, Any]


def read_results(file: Path) -> Results:
    """Return the numbers in a file, with their protocol.

    Raises:
        DataError: no such file, no JSON of an evaluation, no protocol, or no number in it.
    """
    if not file.is_file():
        raise DataError("no such file", file=file, wanted=_WANTED)
    document = read_json_object(file, "results", _WANTED, _LARGEST)
    rows = document.get("rows")
    protocol = document.get("protocols" if rows is not None else "protocol")
    if not isinstance(protocol, dict) or not protocol:
        raise DataError("numbers without their protocol", file=file, key="protocol", wanted=_WANTED)
    numbers = list(_of_rows(rows) if isinstance(rows, list) else _of_parts(document))[:_MOST_ROWS]
    if not numbers:
        raise DataError("no number in it", file=file, key=", ".join(_PARTS), wanted=_WANTED)
    return Results(file.name, Path(str(document.get("data", ""))).name[:100], numbers, protocol)


def _of_rows(rows: list[Any]) -> Iterator[Number]:
    """Rows of :func:`cosmos_lidar.metrics.protocol.write_measurements`."""
    for row in rows:
        if (
            isinstance(row, dict)
            and isinstance(row.get("name"), str)
            and (value := _finite(row.get("value"))) is not None
        ):
            yield Number(row["name"], value, _finite(row.get("low")), _finite(row.get("high")))


def _of_parts(document: Mapping[str, Any]) -> Iterator[Number]:
    parts: list[dict[str, Any]] = [document[name] for name in _PARTS if isinstance(document.get(name), dict)]
    part = parts[0] if parts else {}
    intervals = document.get("intervals_95_percent")
    for name, value in _leaves(part, ""):
        interval = intervals.get(name) if isinstance(intervals, dict) else None
        ends = interval if isinstance(interval, dict) else {}
        yield Number(name, value, _finite(ends.get("low")), _finite(ends.get("high")))


def _leaves(part: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for name, value in part.items():
        if name in _LEFT_OUT:
            continue
        if isinstance(value, dict) and prefix.count(".") < 2:
            yield from _leaves(value, f"{prefix}{name}.")
        elif (number := _finite(value)) is not None:
            yield f"{prefix}{name}".removesuffix(".mean"), number


def _finite(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None
