"""Preprocessing of range maps to images for a tokenizer, and back (Cosmos lidar tokenizer, as published)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.sensors.arrays import Array, ArrayT, is_tensor, namespace
from cosmos_lidar.sensors.sensor import RangeMapFormat

if TYPE_CHECKING:
    from torch import Tensor

_FAR = 1000.0  # replaces "no return" in the search for the nearest
PAIR_METHODS = ("scatter_min", "scatter_max", "every_n")


def pair_columns(range_m: ArrayT, count: int = 2, method: str = "scatter_min") -> tuple[ArrayT, ArrayT]:
    """Merge each run of ``count`` neighboring columns into one.

    Args:
        range_m: (…, columns) meters, 0 = no return.
        count: columns merged into one.
        method: "scatter_min" keeps the nearest return, "scatter_max" the farthest, "every_n" the first column.

    Returns:
        merged (…, columns / count), and of the same shape the int64 number of the column that was kept.

    Raises:
        DataError: columns do not divide by ``count``.
        UserError: unknown method.
    """
    columns = range_m.shape[-1]
    if columns % count:
        wanted = "a crop to a multiple, or another pair_columns"
        raise DataError(f"{columns} columns do not divide by {count}", wanted=wanted)
    if method not in PAIR_METHODS:
        raise UserError(f"pairing method {method!r}; valid: {', '.join(PAIR_METHODS)}")
    xp = namespace(range_m)
    groups = range_m.reshape(*range_m.shape[:-1], columns // count, count)
    if method == "every_n":
        chosen = xp.zeros_like(groups[..., 0], dtype=xp.int64)
    elif method == "scatter_max":
        chosen = groups.argmax(-1)
    else:
        chosen = xp.where(groups > 0, groups, xp.full_like(groups, _FAR)).argmin(-1)
    merged = _take(groups, chosen)
    first = xp.arange(0, columns, count)
    return merged, chosen + (first.to(chosen.device) if is_tensor(chosen) else first)


def normalise(range_m: ArrayT, format: RangeMapFormat, inverse_depth: bool = False, min_value: float = -1.0) -> ArrayT:
    """Clip meters to the format's limits and map them to [min_value, 1]; "no return" (0) becomes the lower limit.

    Args:
        range_m: meters, any shape.
        format: limits.
        inverse_depth: map 1 / r instead of r; then "no return" is treated as the farthest.
        min_value: -1 (published) or 0.

    Raises:
        DataError: NaN, infinite or negative ranges.
    """
    _check_ranges(range_m)
    low, high = format.min_range_m, format.max_range_m
    xp = namespace(range_m)
    if inverse_depth:
        range_m = 1.0 / xp.where(range_m == 0, xp.full_like(range_m, high), range_m).clip(low, high)
        low, high = 1.0 / high, 1.0 / low
    unit = (range_m.clip(low, high) - low) / (high - low)
    return unit * 2.0 - 1.0 if min_value == -1.0 else unit


def denormalise(image: ArrayT, format: RangeMapFormat, inverse_depth: bool = False, min_value: float = -1.0) -> ArrayT:
    """Return meters for normalized values: the inverse of :func:`normalise` (limits stay limits)."""
    low, high = format.min_range_m, format.max_range_m
    unit = (image + 1.0) / 2.0 if min_value == -1.0 else image
    if inverse_depth:
        return 1.0 / (unit * (1.0 / low - 1.0 / high) + 1.0 / high)
    return unit * (high - low) + low


def prepare_range_map(range_m: ArrayT, format: RangeMapFormat, method: str = "scatter_min") -> ArrayT:
    """Return (…, 3, rows * repeat_rows, columns / pair_columns) in [-1, 1], the tokenizer's input image.

    Columns are paired, ranges normalized, rows repeated and three equal channels made, in this order.

    Args:
        range_m: (…, rows, columns) meters, 0 = no return.
        format: the sensor's format.
        method: of :func:`pair_columns`.
    """
    merged = pair_columns(range_m, format.pair_columns, method)[0] if format.pair_columns > 1 else range_m
    image = normalise(merged, format)
    if is_tensor(image):
        repeated = image.repeat_interleave(format.repeat_rows, dim=-2)
        return repeated.unsqueeze(-3).expand(*repeated.shape[:-2], 3, *repeated.shape[-2:]).contiguous()
    rows = np.repeat(image, format.repeat_rows, axis=-2)
    return np.repeat(rows[..., None, :, :], 3, axis=-3)


def restore_range_map(
    image: ArrayT,
    format: RangeMapFormat,
    valid: ArrayT | None = None,
    near_m: float = 0.5,
    far_m: float = 0.5,
    row: str = "published",
) -> ArrayT:
    """Return the range map (…, rows, W) in meters of an image (…, 3, rows * repeat_rows, W); 0 where not valid.

    Channels are averaged. Of each group of repeated rows the published code keeps one, number ``repeat_rows // 2``;
    ``row="mean"`` averages the group instead.

    Args:
        image: normalized values; clamped to [-1, 1].
        format: the sensor's format.
        valid: (…, rows, W) which pixels hold a return; by the decoded value when not given.
        near_m: without ``valid``, ranges up to min_range_m + near_m count as no return.
        far_m: without ``valid``, ranges from max_range_m - far_m on count as no return.
        row: "published" or "mean".

    Raises:
        UserError: unknown ``row``.
    """
    if row not in ("published", "mean"):
        raise UserError(f"row={row!r}; valid: published, mean")
    values = image.mean(-3).clip(-1.0, 1.0)
    repeat = format.repeat_rows
    groups = values.reshape(*values.shape[:-2], values.shape[-2] // repeat, repeat, values.shape[-1])
    range_m = denormalise(groups.mean(-2) if row == "mean" else groups[..., repeat // 2, :], format)
    if valid is None:
        valid = (range_m > format.min_range_m + near_m) & (range_m < format.max_range_m - far_m)
    xp = namespace(range_m)
    return xp.where(valid, range_m, xp.zeros_like(range_m))


def cut_columns(format: RangeMapFormat, merged: int, step: int) -> int:
    """Return the width of the center crop: the format's, or all columns that fill latents."""
    width = format.crop_columns if 0 < format.crop_columns <= merged else merged
    return width // step * step


def cut_image(range_m: np.ndarray, format: RangeMapFormat, step: int) -> Tensor:
    """Return the image (1, 3, H, W) in [-1, 1] of a range map (rows, columns) meters, center-cropped."""
    import torch

    image = torch.from_numpy(prepare_range_map(range_m, format))
    width = cut_columns(format, image.shape[-1], step)
    start = (image.shape[-1] - width) // 2
    return image[None, ..., start : start + width]


def _take(groups: ArrayT, chosen: ArrayT) -> ArrayT:
    xp = namespace(groups)
    take = xp.take_along_dim if is_tensor(groups) else xp.take_along_axis
    return take(groups, chosen[..., None], -1)[..., 0]


def _check_ranges(range_m: Array) -> None:
    if not bool((range_m >= 0).all()) or not bool((range_m < np.inf).all()):
        raise DataError("ranges are NaN, infinite or negative", wanted="meters, 0 = no return")
