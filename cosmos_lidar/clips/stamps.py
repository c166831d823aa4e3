"""Units of stamps by their magnitude, for files that do not state them.

Stamps of the years 2000 to 2100 lie in separate ranges as seconds, milliseconds, microseconds and nanoseconds. Smaller
ones count from the start of a recording; their unit is the one in which their median step is that of sweeps
(:func:`cosmos_lidar.clips.point_fields.unit_of`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from cosmos_lidar.clips.point_fields import unit_of
from cosmos_lidar.errors import DataError

UNITS_US = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
_FIRST_US, _LAST_US = 946_684_800 * 1e6, 4_102_444_800 * 1e6  # 2000 and 2100
_NUMBER = re.compile(r"[+-]?\d{1,20}(?:\.\d{0,20})?(?:[eE][+-]?\d{1,2})?")


def is_number(text: str) -> bool:
    """Return whether a text is a plain decimal number."""
    return _NUMBER.fullmatch(text) is not None


def unit_since_1970(values: Sequence[Fraction | float]) -> str | None:
    """Return the unit in which all stamps lie in the years 2000 to 2100; None where none is."""
    for unit, scale in UNITS_US.items():
        if len(values) and all(_FIRST_US <= float(value) * scale < _LAST_US for value in (min(values), max(values))):
            return unit
    return None


def to_microseconds(texts: Sequence[str], unit: str | None = None) -> tuple[np.ndarray, str]:
    """Return (N,) int64 microseconds of stamps, and how their unit was found.

    Args:
        texts: numbers, or dates such as ``2011-09-26 13:02:25.594360375``.
        unit: of numbers, where it is stated.

    Raises:
        DataError: no number or date, or no unit in which they are plausible; ``key`` names the row.
    """
    if texts and not is_number(texts[0]):
        return np.array([_date(text, row) for row, text in enumerate(texts)], np.int64), "dates"
    values = [_number(text, row) for row, text in enumerate(texts)]
    how = f"{unit}, as stated"
    if unit is None:
        unit = unit_since_1970(values)
        how = f"{unit} since 1970 by their magnitude"
    if unit is None:
        steps = np.diff(np.array(values, np.float64))
        scale = unit_of(float(np.median(steps))) if len(steps) and max(map(abs, values)) < 1e15 else None
        unit = next((name for name, one in UNITS_US.items() if one == scale), None)
        how = f"{unit} by their median step"
    if unit is None:
        wanted = "s, ms, us or ns of the years 2000 to 2100, or with steps of 3 ms to 3 s"
        raise DataError(f"stamps such as {texts[0]} are plausible in no unit", key="row 1", wanted=wanted)
    scale_exact = Fraction(UNITS_US[unit]).limit_denominator(1000)
    return np.array([round(value * scale_exact) for value in values], np.int64), how


def _number(text: str, row: int) -> Fraction:
    if not is_number(text):
        raise DataError(f"{text!r:.40} is no number", key=f"row {row + 1}", wanted="one stamp per row")
    return Fraction(text)


def _date(text: str, row: int) -> int:
    try:
        stamp = np.datetime64(text.strip().replace(" ", "T"), "ns")
        if np.isnat(stamp):
            raise ValueError("no date")
    except ValueError as error:
        raise DataError(f"{text!r:.40}: {error!s:.80}", key=f"row {row + 1}", wanted="a number or date") from error
    return int(stamp.astype(np.int64)) // 1000
