"""Arrays of numpy: ``.npy`` with a row per point, ``.npz`` with a table of points or an array per field.

A table is (N, C) or, organized, (rows, columns, C): x, y, z, then intensity; further columns have no names and are
left out. An ``.npz`` has x, y and z, or a table named points, xyz, pointcloud, pc, cloud, data or arr_0, or a single
table of another name; arrays beside it with a value per point are fields by their names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cosmos_lidar.arrays import read_npy, read_npz
from cosmos_lidar.clips.point_fields import PointFields
from cosmos_lidar.errors import DataError

EXTENSIONS = (".npy", ".npz")
_TABLES = ("points", "xyz", "pointcloud", "point_cloud", "pc", "cloud", "data", "arr_0")
_COLUMNS = ("x", "y", "z", "intensity")
_WANTED = "numbers (N, 3) or more: x y z intensity"


def read(path: Path, clip: str | None = None) -> PointFields:
    """Return the fields of a file of arrays.

    Raises:
        DataError: no such file, Python objects, no table of points, or larger than the limit.
    """
    try:
        if path.suffix.lower() == ".npy":
            return _table(read_npy(path), None)
        return _of_arrays(read_npz(path))
    except DataError as error:
        raise error.at(file=path, clip=clip, wanted=error.wanted or _WANTED) from error


def _is_table(array: np.ndarray) -> bool:
    return array.ndim in (2, 3) and array.shape[-1] >= 3 and array.dtype.kind in "fiu"


def _table(array: np.ndarray, key: str | None) -> PointFields:
    if not _is_table(array):
        raise DataError(f"an array {array.shape} of {array.dtype}", key=key, wanted=_WANTED)
    rows = array.reshape(-1, array.shape[-1])
    shape = array.shape[:2] if array.ndim == 3 else None
    return PointFields({name: rows[:, place] for place, name in enumerate(_COLUMNS[: rows.shape[1]])}, shape)


def _of_arrays(arrays: dict[str, np.ndarray]) -> PointFields:
    by_name = {name.lower(): array for name, array in arrays.items()}
    if all(axis in by_name for axis in "xyz"):
        table, chosen = PointFields({axis: _flat(by_name[axis]) for axis in "xyz"}, _shape(by_name["x"])), "x"
    else:
        chosen = _choose(by_name)
        table = _table(by_name[chosen], chosen)
    fields = {
        name: _flat(array)
        for name, array in by_name.items()
        if name != chosen and array.dtype.kind in "fiu" and _fits(array, table)
    }
    return PointFields({**table.columns, **fields}, table.shape)


def _choose(arrays: dict[str, np.ndarray]) -> str:
    named = [name for name in _TABLES if name in arrays]
    tables = [name for name, array in arrays.items() if _is_table(array)]
    if named:
        return named[0]
    if len(tables) != 1:
        found = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "none"
        raise DataError(f"arrays {found}"[:300], key="points", wanted=f"an array named points, {_WANTED}")
    return tables[0]


def _fits(array: np.ndarray, table: PointFields) -> bool:
    """Return whether an array has a value per point."""
    return array.shape in ((len(table),), (len(table), 1), table.shape)


def _flat(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise DataError(f"an array of {array.dtype}", key="x", wanted="numbers")
    return array.reshape(-1)


def _shape(array: np.ndarray) -> tuple[int, int] | None:
    return (array.shape[0], array.shape[1]) if array.ndim == 2 and min(array.shape) > 1 else None
