"""Arrays of numpy: ``.npy`` with a row per point, ``.npz`` with a table of points or an array per field.

A table is (N, C) or, organized, (rows, columns, C): x, y, z, then intensity; further columns have no names and are
left out. An ``.npz`` has x, y and z, or a table named points, xyz, pointcloud, pc, cloud, data or arr_0, or a single
table of another name; arrays beside it with a value per point are fields by their names.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from cosmos_lidar.arrays import ArrayStream, npz_headers, open_npy, open_npz_member, read_npz, rest_of
from cosmos_lidar.clips.point_fields import PointFields
from cosmos_lidar.clips.point_records import from_stream, read_records
from cosmos_lidar.errors import DataError

EXTENSIONS = (".npy", ".npz")
_TABLES = ("points", "xyz", "pointcloud", "point_cloud", "pc", "cloud", "data", "arr_0")
_COLUMNS = ("x", "y", "z", "intensity")
_WANTED = "numbers (N, 3) or more: x y z intensity"


def read(path: Path, clip: str | None = None, *, used: bool = False) -> PointFields:
    """Return the fields of a file of arrays.

    Raises:
        DataError: no such file, Python objects, no table of points, or larger than the limit.
    """
    try:
        if path.suffix.lower() == ".npy":
            with open_npy(path) as found:
                return _table(found, None)
        return _of_archive(path)
    except DataError as error:
        raise error.at(file=path, clip=clip, wanted=error.wanted or _WANTED) from error


def _is_table(shape: tuple[int, ...], dtype: np.dtype) -> bool:
    return len(shape) in (2, 3) and shape[-1] >= 3 and dtype.kind in "fiu"


def _table(found: ArrayStream, key: str | None) -> PointFields:
    """Return the columns of a table, of which no more is in memory."""
    shape, dtype = found.shape, found.dtype
    if not _is_table(shape, dtype):
        raise DataError(f"an array {shape} of {dtype}", key=key, wanted=_WANTED)
    organized = shape[:2] if len(shape) == 3 else None
    names = _COLUMNS[: shape[-1]]
    if shape[-1] == 3 and dtype == np.float32 and dtype.isnative and not found.fortran:
        points = rest_of(found).reshape(-1, 3)  # as sweeps have them
        return PointFields({name: points[:, place] for place, name in enumerate(names)}, organized, points, owned=True)
    if found.fortran:
        rows = rest_of(found).reshape(-1, shape[-1])
        return PointFields({name: rows[:, place] for place, name in enumerate(names)}, organized)
    record = np.dtype({
        "names": names, "formats": [dtype] * len(names), "itemsize": shape[-1] * dtype.itemsize,
        "offsets": [place * dtype.itemsize for place in range(len(names))],
    })  # fmt: skip
    return read_records(from_stream(found.stream), record, math.prod(shape[:-1]), organized)


def _of_archive(path: Path) -> PointFields:
    headers = npz_headers(path)
    names = {name.lower(): name for name in headers}
    there = {name: headers[own] for name, own in names.items()}
    if all(axis in there for axis in "xyz"):
        wrong = next((axis for axis in "xyz" if there[axis][1].kind not in "fiu"), None)
        if wrong:
            raise DataError(f"an array of {there[wrong][1]}", key="x", wanted="numbers")
        table, chosen = PointFields({}, _organized(there["x"][0]), owned=True), "x"
        count = math.prod(there["x"][0])
    else:
        chosen = _choose(there)
        with open_npz_member(path, names[chosen]) as found:
            table = _table(found, chosen)
        count = len(table)
    others = [
        own
        for name, own in names.items()
        if (name != chosen and there[name][1].kind in "fiu" and _fits(there[name][0], count, table.shape))
        or (not table.columns and name in ("x", "y", "z"))
    ]
    arrays = read_npz(path, others)
    columns = {name: arrays.pop(own).reshape(-1) for name, own in names.items() if own in arrays}
    return replace(table, columns={**table.columns, **columns})


def _choose(there: dict[str, tuple[tuple[int, ...], np.dtype]]) -> str:
    named = [name for name in _TABLES if name in there]
    tables = [name for name, one in there.items() if _is_table(*one)]
    if named:
        return named[0]
    if len(tables) != 1:
        found = ", ".join(f"{name} {shape}" for name, (shape, _) in there.items()) or "none"
        raise DataError(f"arrays {found}"[:300], key="points", wanted=f"an array named points, {_WANTED}")
    return tables[0]


def _fits(shape: tuple[int, ...], count: int, organized: tuple[int, int] | None) -> bool:
    """Return whether an array has a value per point."""
    return shape in ((count,), (count, 1), organized)


def _organized(shape: tuple[int, ...]) -> tuple[int, int] | None:
    return (shape[0], shape[1]) if len(shape) == 2 and min(shape) > 1 else None
