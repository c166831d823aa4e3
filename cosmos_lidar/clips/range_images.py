"""Native range images from returns that name their pixel: row and column of the model of a spinning lidar."""

from __future__ import annotations

from typing import Any

import numpy as np

from cosmos_lidar.clips.blocks import blocks
from cosmos_lidar.clips.sweep import Sweep


def range_image_of_elements(
    points: np.ndarray, distance: np.ndarray, pixel: np.ndarray, shape: tuple[int, int], values: dict[str, Any]
) -> dict[str, Any] | None:
    """Return the fields of a :class:`Sweep` with a range image; None where a pixel has more than two returns.

    Of two returns of a pixel the nearer one is the first.

    Args:
        points: (N, 3) float32 meters.
        distance: (N,) float32, their ranges, above 0.
        pixel: (N,) integers, row * columns + column of each.
        shape: rows and columns.
        values: (N,) of the points, by their names in the sweep.
    """
    first, others = first_points(pixel, shape)
    if len(others):
        order = np.argsort(distance, kind="stable")
        points, pixel, distance = points[order], pixel[order], distance[order]
        values = {name: value[order] for name, value in values.items()}
        first, others = first_points(pixel, shape)
    chosen = np.setdiff1d(np.arange(len(pixel)), others, assume_unique=True) if len(others) else slice(None)
    image = _image(points, distance, pixel, first, chosen, shape, values)
    if not len(others):
        return image
    second, more = first_points(pixel[others], shape)
    if len(more):
        return None
    second = np.where(second >= 0, others[second], -1)
    return {**image, "second_return": Sweep(**_image(points, distance, pixel, second, others, shape, values))}


def image_of_values(values: dict[str, Any], pixel: np.ndarray, shape: tuple[int, int]) -> dict[str, Any] | None:
    """Return the fields of a :class:`Sweep` with a range image; None where two returns are of one pixel.

    Args:
        values: ``points``, ``range_m`` and others by their names in the sweep, (N,) or (N, 3); each is taken out of
            the dictionary and freed when it has been used. Nothing is where the result is None.
        pixel: (N,) integers, row * columns + column of each.
        shape: rows and columns.
    """
    place, others = first_points(pixel, shape)
    if len(others):
        return None
    order = place[place >= 0]
    del place
    image = {"points": values.pop("points")[order]}
    del order
    for name in list(values):
        image[name] = put_pixels(values.pop(name), pixel, shape)
    return image


def first_points(pixel: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return (rows * columns,) int32 the first point of each pixel, -1 for none, and the points that are not first.

    Args:
        pixel: (N,) row * columns + column of each point.
        shape: rows and columns.
    """
    numbers = np.arange(len(pixel), dtype=np.int32)
    first = np.full(shape[0] * shape[1], -1, np.int32)
    first[pixel[::-1]] = numbers[::-1]  # of several values for one place numpy keeps the last
    return first, np.flatnonzero(first[pixel] != numbers)


def put_pixels(values: np.ndarray, pixel: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return an image (rows, columns) of values (N,) at their pixels, 0 elsewhere."""
    image = np.zeros(shape, values.dtype)
    flat = image.reshape(-1)
    for part in blocks(len(values)):  # numpy turns the places into 8 bytes each
        flat[pixel[part]] = values[part]
    return image


def _image(
    points: np.ndarray,
    distance: np.ndarray,
    pixel: np.ndarray,
    place: np.ndarray,
    chosen: np.ndarray | slice,
    shape: tuple[int, int],
    values: dict[str, Any],
) -> dict[str, Any]:
    """Return range image, points and images of values of the ``chosen`` points, one per pixel.

    Args:
        points: (N, 3) all points.
        distance: (N,) their ranges.
        pixel: (N,) their pixels.
        place: (rows * columns,) the chosen point in each pixel, -1 for none.
        chosen: which points.
        shape: rows and columns.
        values: (N,) of the points, by name.
    """
    where = pixel[chosen]

    def scatter(value: np.ndarray) -> np.ndarray:
        return put_pixels(value[chosen], where, shape)

    in_rows = points[place[place >= 0]]
    return {"range_m": scatter(distance), "points": in_rows, **{name: scatter(one) for name, one in values.items()}}
