"""Training curves as inline SVG, and the file they come from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import read_rows

COLORS = ("var(--accent)", "var(--second)", "var(--good)", "var(--soft)")
_MOST_VERTICES = 600


class Series(NamedTuple):
    """One line of a curve: (N,) ascending steps and (N,) finite values."""

    steps: np.ndarray
    values: np.ndarray


def read_series(path: str | Path) -> dict[str, Series]:
    """Read the training curves of a CSV file with a column ``step``; every other column of numbers becomes a series.

    Empty fields are skipped, so that validation values may stand on lines of their own.

    Raises:
        DataError: the file has no column ``step``, or a field that is no number in a column of numbers.
    """
    rows = read_rows(path)
    if rows and "step" not in rows[0]:
        raise DataError("no column step", file=path, key="step", wanted="a header line: step,loss,…")
    series = {}
    for name in rows[0] if rows else ():
        if name != "step" and name is not None:
            pairs = [(row["step"], row[name]) for row in rows if row[name]]
            series[name] = _to_series(pairs, name, path)
    return {name: one for name, one in series.items() if len(one.steps)}


read_metrics = read_series  # the earlier name, which training/run_log.py has for rows


def _to_series(pairs: list[tuple[str, str]], name: str, path: str | Path) -> Series:
    try:
        numbers = np.asarray(pairs, np.float64).reshape(-1, 2)
    except ValueError as error:
        raise DataError(str(error), file=path, key=name, wanted="numbers or empty fields") from error
    numbers = numbers[np.isfinite(numbers).all(axis=1)]
    numbers = numbers[np.argsort(numbers[:, 0], kind="stable")]
    return Series(numbers[:, 0], numbers[:, 1])


def smooth(values: np.ndarray, half_width: int) -> np.ndarray:
    """Return (N,) the mean of each of (N,) values and its ``half_width`` neighbors on either side.

    Windows are smaller and symmetric at the start, and trailing at the end.
    """
    total = np.concatenate([[0.0], np.cumsum(values)])
    at = np.arange(len(values))
    before = np.minimum(at, half_width)
    after = np.minimum(before, at[::-1])
    return (total[at + after + 1] - total[at - before]) / (before + after + 1)


def thin(series: Series, most: int = _MOST_VERTICES) -> Series:
    """Return at most ``most`` of the values, evenly spread, the first and the last among them."""
    if len(series.steps) <= most:
        return series
    keep = np.unique(np.round(np.linspace(0, len(series.steps) - 1, most)).astype(int))
    return Series(series.steps[keep], series.values[keep])


def ticks(low: float, high: float, log: bool, most: int = 6) -> list[float]:
    """Return round numbers within [low, high]: multiples of 1, 2 or 5 times a power of ten; 1, 2, 5 … when ``log``."""
    if log:
        decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
        for digits in ((1, 2, 5), (1, 3), (1,)):
            found = [d * 10.0**e for e in decades for d in digits if low <= d * 10.0**e <= high]
            if len(found) <= most:
                break
        return found
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-12)))
    step = next(s for s in (step / 5, step / 2, step, step * 2, step * 5) if (high - low) / s <= most)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def curve_html(series: Mapping[str, Series], log: bool | None = None, colors: Sequence[str] = COLORS) -> str:
    """Return the HTML of one plot: SVG lines, axes, a key with the last values, and the data for tooltips.

    Args:
        series: by the name shown; long ones (more than 60 values) are drawn faintly with their moving average on top.
        log: logarithmic vertical axis; when None, taken if the values are positive and span more than a factor of 8.
        colors: of the lines, in CSS; repeated where there are more lines.

    Raises:
        UserError: nothing to draw.
    """
    series = {name: one for name, one in series.items() if len(one.steps)}
    if not series:
        raise UserError("a training curve needs at least one value")
    values = np.concatenate([one.values for one in series.values()])
    steps = np.concatenate([one.steps for one in series.values()])
    log = bool(values.min() > 0 and values.max() > 8 * values.min()) if log is None else log
    frame = _Frame(float(steps.min()), float(steps.max()), *_limits(values, log), log)
    lines, shown, keys = [], [], []
    for (name, one), color in zip(series.items(), cycle(colors), strict=False):
        soft = Series(one.steps, smooth(one.values, len(one.steps) // 50)) if len(one.steps) > 60 else None
        if soft is not None:
            lines.append(_path(frame, thin(one), color, "faint"))
        main = thin(soft if soft is not None else one)
        lines.append(_path(frame, main, color, "line"))
        shown.append({"name": name, "steps": _plain(main.steps), "values": _plain(main.values)})
        keys.append(f'<span><i style="background:{color}"></i>{escape(name)} <b>{main.values[-1]:.4g}</b></span>')
    data = json.dumps({"first": frame.first, "last": frame.last, "series": shown}).replace("<", "\\u003c")
    label = escape(f"Curve of {', '.join(series)} over training steps")
    return (
        f'<div class="card curve"><div class="keys">{"".join(keys)}</div><div class="plot">'
        f'<svg viewBox="0 0 100 100" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f"{_grid(frame)}{''.join(lines)}</svg>{_tick_labels(frame)}"
        f'<script type="application/json">{data}</script></div></div>'
    )


class _Frame(NamedTuple):
    """The axes: what lies at the edges of the plot."""

    first: float
    last: float
    low: float
    high: float
    log: bool

    def x(self, step: np.ndarray | float) -> np.ndarray:
        """Return the distance from the left edge, in percent of the width."""
        return 100.0 * (np.asarray(step) - self.first) / max(self.last - self.first, 1e-12)

    def y(self, value: np.ndarray | float) -> np.ndarray:
        """Return the distance from the upper edge, in percent of the height."""
        scale = np.log if self.log else np.asarray
        low, high = scale(self.low), scale(self.high)
        return 100.0 * (1.0 - (scale(np.asarray(value)) - low) / max(high - low, 1e-12))


def _limits(values: np.ndarray, log: bool) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if log:
        return low / 1.1, high * 1.1
    room = 0.06 * max(high - low, 1e-3 * abs(high), 1e-9)
    return (0.0 if 0 <= low < 0.3 * high else low - room), high + room


def _plain(numbers: np.ndarray) -> list[float]:
    return [float(f"{number:.6g}") for number in numbers]


def _path(frame: _Frame, series: Series, color: str, kind: str) -> str:
    corners = " ".join(f"{x:.2f},{y:.2f}" for x, y in zip(frame.x(series.steps), frame.y(series.values), strict=True))
    if len(series.steps) == 1:
        corners += " h1"
    return f'<path class="{kind}" style="stroke:{color}" d="M{corners}"/>'


def _grid(frame: _Frame) -> str:
    heights = [*(float(frame.y(value)) for value in ticks(frame.low, frame.high, frame.log)), 100.0]
    return "".join(f'<line x1="0" x2="100" y1="{y:.2f}" y2="{y:.2f}"/>' for y in heights)


def _tick_labels(frame: _Frame) -> str:
    spans = [
        f'<span class="tick y" style="top:{frame.y(value):.2f}%">{value:g}</span>'
        for value in ticks(frame.low, frame.high, frame.log)
    ]
    for step in ticks(frame.first, frame.last, False):
        if frame.x(step) < 90:
            late = " late" if frame.x(step) > 62 else ""  # would run into the label of the axis on a phone
            spans.append(f'<span class="tick x{late}" style="left:{frame.x(step):.2f}%">{step:,.0f}</span>')
    return "".join(spans) + f'<span class="axis">step {frame.last:,.0f}</span>'
