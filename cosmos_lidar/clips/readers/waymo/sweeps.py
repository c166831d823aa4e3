"""A sweep out of the arrays of a range image: ranges, values, labels, and points moved by the poses of their pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cosmos_lidar.clips.readers.waymo.geometry import LidarGeometry, move_pixels
from cosmos_lidar.clips.readers.waymo.matrices import Place
from cosmos_lidar.clips.sweep import Sweep, to_points
from cosmos_lidar.sensors.sensor import Sensor

RANGE = 0
_VALUES = ("range_m", "intensity", "elongation")  # of the first channels
INSTANCE, CLASS = 0, 1


def make_return(
    blocks: Iterable[np.ndarray], labels: np.ndarray | None, geometry: LidarGeometry, place: Place
) -> Sweep:
    """Return one return of a lidar as a sweep with a range image.

    Args:
        blocks: (some rows, columns, 4) float32 range, intensity, elongation, no-label zone, one after the other.
        labels: (rows, columns, 2) int32 instance and class, or None.
        geometry: the lidar.
        place: of the range image, for error messages.

    Raises:
        DataError: ranges that are infinite, or labels beyond 16 bits.
    """
    planes, row = np.empty((len(_VALUES), *geometry.shape), np.float32), 0
    for block in blocks:
        some = planes[:, row : row + len(block)]
        some[:] = np.moveaxis(block[..., : len(_VALUES)], -1, 0)
        np.copyto(some, 0, where=~(some[RANGE] > 0))  # -1 where nothing came back
        row += len(block)
    if not np.isfinite(planes[RANGE].max(initial=0)):
        raise place.error("infinite ranges", "meters")
    found: dict[str, Any] = dict(zip(_VALUES, planes, strict=True))
    if labels is not None:
        if labels.min(initial=0) < 0 or labels[..., CLASS].max(initial=0) > np.iinfo(np.uint16).max:
            raise place.error("labels below 0 or beyond 16 bits", "instances and classes")
        seen = found["range_m"] > 0
        found["labels"] = np.zeros(geometry.shape, np.uint16)
        found["instance"] = np.zeros(geometry.shape, np.uint32)
        np.copyto(found["labels"], labels[..., CLASS], "unsafe", where=seen)
        np.copyto(found["instance"], labels[..., INSTANCE], "unsafe", where=seen)
    return Sweep(**found)


def with_points(
    returns: Sequence[Sweep], poses: Iterable[np.ndarray], geometry: LidarGeometry, world_SE3_lidar: np.ndarray
) -> list[Sweep]:
    """Return the sweeps with points, where they lay at the start of the sweep.

    Args:
        returns: range images: first and second returns.
        poses: blocks (some rows, columns, 6) float32 of pixel poses, one after the other.
        geometry: the lidar.
        world_SE3_lidar: (4, 4) the lidar at the start of the sweep.
    """
    images = [sweep.range_m for sweep in returns if sweep.range_m is not None]
    found = move_pixels(images, poses, geometry, world_SE3_lidar)
    return [replace(sweep, points=points) for sweep, points in zip(returns, found, strict=True)]


@dataclass(frozen=True)
class AsPoints:
    """``read`` of a lidar whose range images are to be seen through another sensor: its sweeps as points.

    Attributes:
        read: of its range images.
        sensor: of its range images.
    """

    read: Callable[[int], Sweep]
    sensor: Sensor

    def __call__(self, index: int) -> Sweep:
        """Read sweep ``index``."""
        return to_points(self.read(index), self.sensor)
