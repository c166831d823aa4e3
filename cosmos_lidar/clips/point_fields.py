"""Named fields of a point cloud (PCD, PLY, PointCloud2, …) as a sweep: which field is what, and in which unit of time.

Names count without regard to case and to CloudCompare's prefix ``scalar_``. Fields of other names are left out, and so
are fields of several values per point.

Times: a suffix (``_s``, ``_ms``, ``_us``, ``_ns``) states the unit. Without one the unit is that of s, ms, us, ns in
which the times of a sweep span between 3.2 ms and 3.2 s, the thousandfold around 0.1 s: exactly one unit fits, whether
it is Ouster's ``t`` (ns), Velodyne's ``time`` (s), Livox' ``offset_time`` (ns) or Hesai's ``timestamp`` (s since 1970).
A sweep whose times span nothing, or more or less in every unit, has no times. Times since 1970 count from the start of
the sweep where they agree with it within a second, else from the earliest of them; others count as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.blocks import blocks, select
from cosmos_lidar.clips.files import FARTHEST_M, refuse_far, with_return
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.errors import DataError

_NAMES = {
    "intensity": ("intensity", "reflectance", "reflectivity", "remission", "i"),
    "ring": ("ring", "channel", "laser_id", "laser_number", "ring_id", "line"),
    "labels": ("label", "labels", "semantic", "semantic_label", "class", "class_id", "classification"),
    "instance": ("instance", "instance_id"),
    "returns": ("return_number",),
}
_TIME = re.compile(r"(?:t|time|timestamp|time_?stamp|offset_time|time_offset|offset|gps_time)(?:_(s|ms|us|ns))?")
_UNITS_US = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
_SHORTEST_US, _LONGEST_US = 10**3.5, 10**6.5  # of a sweep
_DAY_US, _AGREES_US, _HOUR_US = 86_400e6, 1e6, 3_600e6


@dataclass(frozen=True)
class PointFields:
    """A point cloud as its file has it.

    Attributes:
        columns: field -> (N,) values, or (N, K) of fields of several values.
        shape: (height, width) of an organized cloud, whose points come row by row; None for a list of points.
        points: (N, 3) float32, of which x, y and z are the columns; None where they are not.
        kept: (N,) bool, which points have a return, where converted coordinates do not show it; None: they do.
        owned: nobody else has the arrays, and none is a part of a larger one: :func:`to_sweep` may use them up.
    """

    columns: dict[str, np.ndarray]
    shape: tuple[int, int] | None = None
    points: np.ndarray | None = None
    kept: np.ndarray | None = None
    owned: bool = False

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0


def to_sweep(
    fields: PointFields,
    times_us: np.ndarray,
    *,
    origin_m: np.ndarray | None = None,
    file: Path | None = None,
    clip: str | None = None,
    key: str | None = None,
) -> Sweep:
    """Return the sweep of a cloud of fields; points that are NaN, infinite or at the origin are left out.

    Fields that are owned are taken over: they are empty afterwards, and each column is freed when it has been used.

    Args:
        fields: at least x, y and z, in meters.
        times_us: (2,) start and end of the sweep.
        origin_m: (3,) subtracted from the coordinates in float64, as those of a map need it; None: nothing.
        file: for messages.
        clip: for messages.
        key: for messages.

    Raises:
        DataError: no x, y, z, no point, fields of different lengths, or coordinates beyond 100 km.
    """
    single: dict[str, np.ndarray] = {}
    for name in fields.columns:
        if np.ndim(fields.columns[name]) == 1:
            single.setdefault(_plain(name), fields.columns[name])
    if not all(axis in single for axis in "xyz"):
        found = ", ".join(fields.columns) or "none"
        raise DataError(f"fields {found}", file=file, clip=clip, key=key or "fields", wanted="x, y and z of one value")
    if not len(fields):
        raise DataError("no point in it", file=file, clip=clip, key=key or "points", wanted="at least one point")
    if len({len(values) for values in fields.columns.values()}) > 1:
        found = ", ".join(f"{name} {len(values)}" for name, values in fields.columns.items())
        raise DataError(f"lengths {found}", file=file, clip=clip, key=key or "fields", wanted="one value per point")
    kept = with_return(*(single[axis] for axis in "xyz")) if fields.kept is None else fields.kept
    columns = _Columns(single, kept, fields.owned)
    points = _points(fields.points, columns, origin_m, file, clip)
    shape, count = fields.shape, len(fields)
    if fields.owned:
        fields.columns.clear()
    time_us = _times(columns, times_us)  # the largest column of most files first
    held: dict[str, Any] = {"intensity": columns.take("intensity", np.float32)}
    held |= {name: _whole(columns, name, dtype, lowest) for name, (dtype, lowest) in _WHOLE.items()}
    if held["ring"] is None and shape is not None and min(shape) > 1:
        held["ring"] = select(_rows(shape), columns.kept)
    if held["labels"] is not None:
        _unpack_labels(held)
    return Sweep(points=points, time_us=time_us, without_return=count - len(points), **held)


def is_used(name: str) -> bool:
    """Return whether a sweep has a use for a field of this name."""
    plain = _plain(name)
    named = any(plain in names for names in (*_NAMES.values(), "xyz"))
    return named or _TIME.fullmatch(plain) is not None


@dataclass
class _Columns:
    """Columns of one value per point, by plain names, and which points are kept, (N,) bool."""

    single: dict[str, np.ndarray]
    kept: np.ndarray
    owned: bool

    @cached_property
    def everything(self) -> bool:
        return bool(self.kept.all())

    def pick(self, name: str) -> np.ndarray:
        """Return the values of the kept points; the columns are without it afterwards."""
        values = self.single.pop(name)
        return values if self.everything else values[self.kept]

    def find(self, role: str) -> np.ndarray | None:
        name = next((name for name in _NAMES[role] if name in self.single), None)
        return None if name is None else self.pick(name)

    def take(self, role: str, dtype: type) -> np.ndarray | None:
        """Return a column of its own; None where there is none."""
        values = self.find(role)
        return None if values is None else self.own(values, dtype)

    def own(self, values: np.ndarray, dtype: type) -> np.ndarray:
        """Return values as an array that belongs to nobody else."""
        return values.astype(dtype, copy=not (self.owned or not self.everything))


def _unpack_labels(held: dict[str, Any]) -> None:
    """Bring labels into 16 bits; larger ones hold the instance in the upper 16, as SemanticKITTI has them."""
    if held["labels"].max(initial=0) > 0xFFFF and held["instance"] is None:
        held["instance"] = held["labels"] >> 16
    held["labels"] = held["labels"].astype(np.uint16)  # the lower 16 bits


def _plain(name: str) -> str:
    return name.lower().removeprefix("scalar_")


def _points(
    points: np.ndarray | None, columns: _Columns, origin_m: np.ndarray | None, file: Path | None, clip: str | None
) -> np.ndarray:
    """Return (M, 3) float32 points; those of a file are refused beyond 100 km."""
    if file is not None:
        _expect_near(columns, origin_m, file, clip)
    own = [points is not None and np.may_share_memory(points, columns.single[axis]) for axis in "xyz"]
    if points is not None and origin_m is None and columns.owned and all(own):
        for axis in "xyz":
            del columns.single[axis]
        return points if columns.everything else points[columns.kept]
    found = np.empty((int(np.count_nonzero(columns.kept)), 3), np.float32)
    for place, axis in enumerate("xyz"):
        values = columns.pick(axis)
        found[:, place] = values if origin_m is None else values.astype(np.float64) - origin_m[place]
    return found


def _expect_near(columns: _Columns, origin_m: np.ndarray | None, file: Path, clip: str | None) -> None:
    for place, axis in enumerate("xyz"):
        values = select(columns.single[axis], columns.kept)
        if origin_m is not None:
            values = values.astype(np.float64) - origin_m[place]
        if len(values) and not -FARTHEST_M < values.min() <= values.max() < FARTHEST_M:
            every = [columns.single[axis][columns.kept].astype(np.float64) for axis in "xyz"]
            refuse_far(np.stack(every, 1) - (0.0 if origin_m is None else origin_m), file, clip)


def _whole(columns: _Columns, role: str, dtype: type, lowest: int) -> np.ndarray | None:
    """Return numbers of a field; None where it holds anything else, as fields of converted files may."""
    values = columns.find(role)
    if values is None:
        return None
    if values.dtype in (np.uint8, np.uint16) and dtype is np.uint32 and role == "labels":
        dtype = np.uint16  # what they become
    with np.errstate(invalid="ignore"):
        found = columns.own(values, dtype)
    if values.dtype != dtype and not (found == values).all():  # of NaN, fractions, and what the type does not hold
        return None
    return np.maximum(found, lowest, out=found) if lowest else found


_WHOLE: dict[str, tuple[type, int]] = {
    "ring": (np.uint16, 0),
    "labels": (np.uint32, 0),
    "instance": (np.uint32, 0),
    "returns": (np.uint8, 1),
}


def _rows(shape: tuple[int, int]) -> np.ndarray:
    """Return (N,) the row of each point of an organized cloud: its place along the shorter side, as lidars have it."""
    height, width = shape
    if height <= width:
        return np.repeat(np.arange(height, dtype=np.uint16), width)
    return np.tile(np.arange(width, dtype=np.uint16), height)


def _times(columns: _Columns, times_us: np.ndarray) -> np.ndarray | None:
    """Return (M,) int32 microseconds after the start of the sweep, as the module says; None where there are none."""
    match = next((match for name in columns.single if (match := _TIME.fullmatch(name))), None)
    if match is None or not columns.kept.any():
        return None
    values = columns.pick(match[0])
    first, last = values.min(), values.max()
    if not np.isfinite(first) or not np.isfinite(last):
        return None
    span = _after(last, first)
    scale = _UNITS_US[match[1]] if match[1] else unit_of(float(span))
    if scale is None:
        return None
    start_us = float(first) * scale
    if abs(start_us) > _DAY_US:
        start_us = _since_1970(first, scale) - float(times_us[0])
        start_us = start_us if abs(start_us) < _AGREES_US else 0.0
    if max(abs(start_us), abs(span * scale + start_us)) >= _HOUR_US / 2:
        return None
    time_us = np.empty(len(values), np.int32)
    for part in blocks(len(values)):
        time_us[part] = np.round(_after(values[part], first) * scale + start_us)
    return time_us


def _after(values: Any, first: np.generic) -> Any:
    """Return float64 differences; of integers without the loss that float64 has for large ones."""
    return values.astype(np.float64) - float(first) if first.dtype.kind == "f" else (values - first).astype(np.float64)


def unit_of(span: float) -> float | None:
    """Return the microseconds of the unit (s, ms, us, ns) in which ``span`` is that of a sweep; None where none is."""
    fits = [scale for scale in _UNITS_US.values() if _SHORTEST_US <= span * scale < _LONGEST_US]
    return fits[0] if fits else None


def _since_1970(first: np.generic, scale: float) -> float:
    """Return microseconds of a stamp; of integers (ns) without the loss of float64."""
    if first.dtype.kind in "iu" and scale < 1:
        return float(int(first) // round(1 / scale))
    return float(first) * scale
