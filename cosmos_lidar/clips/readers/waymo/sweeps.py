"""A sweep out of the arrays of a range image: ranges, values, labels, and points moved by the poses of their pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
    image: np.ndarray,
    labels: np.ndarray | None,
    poses: np.ndarray | None,
    geometry: LidarGeometry,
    world_SE3_lidar: np.ndarray,
    place: Place,
) -> Sweep:
    """Return one return of a lidar.

    Args:
        image: (rows, columns, 4) float32 range, intensity, elongation, no-label zone.
        labels: (rows, columns, 2) int32 instance and class, or None.
        poses: (rows, columns, 6) float32 pixel poses, or None.
        geometry: the lidar.
        world_SE3_lidar: (4, 4) the lidar at the start of the sweep.
        place: of the range image, for error messages.

    Returns:
        A sweep with a range image; with pixel poses also the points, where they lay at the start of the sweep.

    Raises:
        DataError: ranges that are infinite, or labels beyond 16 bits.
    """
    shape = geometry.shape
    planes = np.ascontiguousarray(image.reshape(-1, image.shape[-1])[:, : len(_VALUES)].T)
    np.copyto(planes, 0, where=~(planes[RANGE] > 0))  # -1 where nothing came back
    if not np.isfinite(planes[RANGE].max(initial=0)):
        raise place.error("infinite ranges", "meters")
    found: dict[str, Any] = {name: plane.reshape(shape) for name, plane in zip(_VALUES, planes, strict=True)}
    seen = found["range_m"] > 0
    if labels is not None:
        if labels.min(initial=0) < 0 or labels[..., CLASS].max(initial=0) > np.iinfo(np.uint16).max:
            raise place.error("labels below 0 or beyond 16 bits", "instances and classes")
        found["labels"] = np.where(seen, labels[..., CLASS], 0).astype(np.uint16)
        found["instance"] = np.where(seen, labels[..., INSTANCE], 0).astype(np.uint32)
    if poses is not None:
        found["points"] = move_pixels(found["range_m"], poses, geometry, world_SE3_lidar)
    return Sweep(**found)


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
