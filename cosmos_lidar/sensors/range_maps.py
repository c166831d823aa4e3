"""Points to range maps and back, for any :class:`Sensor`; numpy arrays and torch tensors, one cloud or many."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.arrays import Array, is_tensor, like
from cosmos_lidar.sensors.rows import RowTable, row_table
from cosmos_lidar.sensors.sensor import Sensor

if TYPE_CHECKING:
    import torch

_BLOCK = 1 << 16  # points per block, so that intermediate results stay in the cache
_NOTHING = (1 << 63) - 1  # key of an empty pixel, larger than that of any point
_RAYS = {"centre": 0.5, "edge": 0.0}
_EDGE_RAD = 1e-6  # float32 coordinates on the leading edge of a field of view lie that near to it


class Projection(NamedTuple):
    """A range map and the index of the point in each pixel.

    Attributes:
        range_m: (rows, columns) float32 meters, 0 = no return.
        point_index: (rows, columns) int64 index of the point that filled the pixel, -1 = none.
        n_dropped: points that fell into no pixel: outside the field of view or range, at the origin, NaN or infinite.
            Points hidden behind a nearer one in the same pixel are not counted.
    """

    range_m: Array
    point_index: Array
    n_dropped: int


def project_points(points: Array, sensor: Sensor) -> Projection:
    """Project a point cloud to the sensor's range map; the nearest point of a pixel wins, the first of ties.

    Row: the beam nearest in elevation, within ``elevation_slack_rad`` of the outer beams. Column: the azimuth bin,
    counted from ``first_azimuth_rad`` with the row's own offset; wrapped at the ends of a full circle, while a lidar
    that sees part of a circle drops the points outside. Angles are computed in float64.

    Args:
        points: (N, 3 or more) meters, sensor frame; columns after the third are ignored.
        sensor: the lidar.

    Raises:
        DataError: not an array of that shape, or not of floating point type.
    """
    tensor = _points_tensor(points)
    keys, placed = _scatter(tensor, sensor)
    filled = keys != _NOTHING
    ranges = (keys >> 32).int().view(_torch().float32)
    range_m = ranges.where(filled, ranges.new_zeros(())).view(sensor.shape)
    index = (keys & 0xFFFFFFFF).where(filled, keys.new_full((), -1)).view(sensor.shape)
    dropped = len(tensor) - placed
    if is_tensor(points):
        return Projection(range_m, index, dropped)
    return Projection(range_m.numpy(), index.numpy(), dropped)


def points_to_range_map(points: Array | list[Array], sensor: Sensor) -> Array:
    """Return the range map(s) of one cloud or of several.

    Args:
        points: (N, 3 or more), or a batch: (B, N, 3 or more) or a list of (N_i, 3 or more); meters, sensor frame.
        sensor: the lidar.

    Returns:
        (rows, columns) float32 meters, 0 = no return; (B, rows, columns) for a batch. As :func:`project_points`.
    """
    if isinstance(points, list | tuple) or getattr(points, "ndim", 0) == 3:
        if len(points) == 0:
            return np.zeros((0, *sensor.shape), np.float32)
        maps = [project_points(cloud, sensor).range_m for cloud in points]
        return _torch().stack(maps) if is_tensor(maps[0]) else np.stack(maps)
    return project_points(points, sensor).range_m


def range_map_to_points(
    range_m: Array, sensor: Sensor, ray_at: str = "centre", first_column: int = 0, full_columns: int | None = None
) -> Array | list[Array]:
    """Return the points of a range map in the sensor frame, not motion-compensated.

    Args:
        range_m: (rows, W) meters, 0 = no return; a batch (B, rows, W) gives a list of clouds.
        sensor: the lidar; its number of rows must be that of the map.
        ray_at: "centre" of the column (error at most half a column) or its leading "edge", as the published code does.
        first_column: column of a full revolution that column 0 of this map shows, for crops.
        full_columns: columns of a full revolution (of the whole field of view of a lidar that sees part of a circle)
            at this map's resolution; W when not given. A map of 1792 columns
            cropped from 1800 needs first_column=4, full_columns=1800; the published code un-projects it without either.

    Returns:
        (N, 3) float32 meters for the pixels above 0, in row-major order.

    Raises:
        DataError: wrong number of rows, or NaN, infinite or negative ranges.
    """
    if range_m.ndim == 3:
        return [_points_of_map(one, sensor, ray_at, first_column, full_columns) for one in range_m]
    return _points_of_map(range_m, sensor, ray_at, first_column, full_columns)


def _points_of_map(range_m: Array, sensor: Sensor, ray_at: str, first_column: int, full_columns: int | None) -> Array:
    _check_map(range_m, sensor)
    directions = ray_directions(sensor, range_m.shape[-1], ray_at, first_column, full_columns)
    valid = range_m > 0
    if is_tensor(range_m):
        moved: torch.Tensor = range_m[valid][:, None] * like(directions, range_m)[valid]  # type: ignore[assignment]
        return moved.float()
    counts = np.count_nonzero(valid, axis=1)
    points, filled = np.empty((int(counts.sum()), 3), np.float32), 0
    step = max(1, _BLOCK // 4 // max(1, range_m.shape[1]))
    for first in range(0, len(range_m), step):  # float64 of some rows at a time
        part = slice(first, first + step)
        place = slice(filled, filled + int(counts[part].sum()))
        np.multiply(
            range_m[part][valid[part]][:, None], directions[part][valid[part]], out=points[place], casting="unsafe"
        )
        filled = place.stop
    return points


def ray_directions(
    sensor: Sensor,
    columns: int | None = None,
    ray_at: str = "centre",
    first_column: int = 0,
    full_columns: int | None = None,
) -> np.ndarray:
    """Return (rows, columns, 3) float64 unit vectors; arguments as :func:`range_map_to_points`.

    The direction of elevation e and azimuth a is (cos e cos a, cos e sin a, sin e).
    """
    if ray_at not in _RAYS:
        raise DataError(f"ray_at={ray_at!r}", wanted=f"one of {', '.join(_RAYS)}")
    columns = sensor.columns if columns is None else columns
    return _directions(sensor, columns, _RAYS[ray_at] + first_column, full_columns or columns)


@lru_cache(maxsize=8)
def _directions(sensor: Sensor, columns: int, offset: float, full: int) -> np.ndarray:
    turn = (-1.0 if sensor.clockwise else 1.0) * sensor.field_of_view_rad / full
    azimuth = sensor.first_azimuth_rad + (np.arange(columns) + offset) * turn
    azimuth = azimuth[None] + sensor.row_azimuth_offsets_rad[:, None]
    elevation = sensor.row_elevations_rad[:, None]
    flat = np.cos(elevation)
    rays = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation) + 0.0 * azimuth], axis=-1)
    rays.flags.writeable = False
    return rays


def _scatter(points: torch.Tensor, sensor: Sensor) -> tuple[torch.Tensor, int]:
    """Return (rows * columns,) int64 keys, range bits above the point's index, and how many points were placed."""
    torch = _torch()
    table = row_table(sensor)
    tensors = [torch.from_numpy(a).to(points.device) for a in (table.row_above, table.switch, _offsets(sensor))]
    keys = torch.full((sensor.rows * sensor.columns,), _NOTHING, dtype=torch.int64, device=points.device)
    placed = 0
    block = _BLOCK if points.device.type == "cpu" else max(len(points), 1)
    for start in range(0, len(points), block):
        pixel, key = _pixels(points[start : start + block], start, sensor, table, *tensors)
        keys.scatter_reduce_(0, pixel, key, "amin")
        placed += len(pixel)
    return keys, placed


def _pixels(
    points: torch.Tensor,
    start: int,
    sensor: Sensor,
    table: RowTable,
    row_above: torch.Tensor,
    switch: torch.Tensor,
    offsets: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return pixel number and key of those points of a block that fall into the field of view."""
    torch = _torch()
    x, y, z = (points[:, axis].double() for axis in range(3))
    distance = (x * x).add_(y * y).add_(z * z).sqrt_()
    s = z / distance
    # The origin, NaN and infinity fail one of these comparisons.
    inside = (distance < sensor.max_range_m).logical_and_(s >= table.lowest).logical_and_(s <= table.highest)
    if inside.all():
        index = torch.arange(start, start + len(points), device=points.device)
    else:
        kept = inside.nonzero().squeeze(1)
        x, y, s, distance = (values.index_select(0, kept) for values in (x, y, s, distance))
        index = kept.add_(start)
    # index_select and 32 bits: several times faster than indexing with brackets and than 64 bits.
    which = (s + 1.0).mul_(table.scale).int().clamp_(0, len(switch) - 1)
    row = row_above.index_select(0, which).add_(s < switch.index_select(0, which))
    azimuth, offset = torch.atan2(y, x), offsets.index_select(0, row)
    if sensor.end_azimuth_rad is None:
        column = _columns(azimuth, offset, sensor)
    else:
        column = _columns_of_part(azimuth, offset, sensor)
        kept = (column < sensor.columns).nonzero().squeeze(1)
        row, column, distance, index = (values.index_select(0, kept) for values in (row, column, distance, index))
    pixel = row.mul_(sensor.columns).add_(column).long()
    return pixel, (distance.float().view(torch.int32).long() << 32).bitwise_or_(index)


def _columns(azimuth: torch.Tensor, offset: torch.Tensor, sensor: Sensor) -> torch.Tensor:
    turned = (sensor.first_azimuth_rad - azimuth).add_(offset)
    turned = turned if sensor.clockwise else turned.neg_()
    # The order of operations is the published one: points exactly on a bin's edge fall on the same side.
    return turned.div_(2.0 * math.pi).mul_(sensor.columns).floor_().int().remainder_(sensor.columns)


def _columns_of_part(azimuth: torch.Tensor, offset: torch.Tensor, sensor: Sensor) -> torch.Tensor:
    """Return the columns of a lidar that sees part of a circle; ``sensor.columns`` and more are outside."""
    turned = (sensor.first_azimuth_rad - azimuth).add_(offset)
    turned = turned if sensor.clockwise else turned.neg_()
    turned = turned.add_(_EDGE_RAD).remainder_(2.0 * math.pi).sub_(_EDGE_RAD)
    return turned.div_(sensor.field_of_view_rad).mul_(sensor.columns).floor_().int().clamp_(min=0)


def _offsets(sensor: Sensor) -> np.ndarray:
    return np.ascontiguousarray(sensor.row_azimuth_offsets_rad, np.float64)


def _points_tensor(points: Array) -> torch.Tensor:
    shape = tuple(getattr(points, "shape", ()))
    floating = points.is_floating_point() if is_tensor(points) else getattr(points, "dtype", np.dtype(int)).kind == "f"
    if len(shape) != 2 or shape[1] < 3 or not floating:
        raise DataError(
            f"points of shape {shape} and type {getattr(points, 'dtype', type(points).__name__)}",
            wanted="a floating-point array (N, 3 or more) of x, y, z in meters",
        )
    return points if is_tensor(points) else _torch().from_numpy(np.ascontiguousarray(points))


def _check_map(range_m: Array, sensor: Sensor) -> None:
    if range_m.ndim != 2 or range_m.shape[0] != sensor.rows:
        wanted = f"({sensor.rows} rows, W columns) for sensor {sensor.name}"
        raise DataError(f"range map of shape {tuple(range_m.shape)}", wanted=wanted)
    if not bool((range_m >= 0).all()) or not bool((range_m < math.inf).all()):
        raise DataError("range map with NaN, infinite or negative values", wanted="meters, 0 = no return")


def _torch():  # noqa: ANN202 - the module
    import torch

    return torch
