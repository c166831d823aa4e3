"""What reads range images and images out of Parquet components."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cosmos_lidar.clips.images import read_image
from cosmos_lidar.clips.parquet_rows import RowReader
from cosmos_lidar.clips.readers.waymo.geometry import LidarGeometry, by_rows
from cosmos_lidar.clips.readers.waymo.matrices import Place
from cosmos_lidar.clips.readers.waymo.sweeps import make_return, with_points
from cosmos_lidar.clips.sweep import Sweep

LIDAR, IMAGE = "[LiDARComponent]", "[CameraImageComponent]"
_CHANNELS = {"lidar": 4, "poses": 6, "labels": 2, "projections": 6}


def image_columns(part: str) -> tuple[str, ...]:
    """Return the columns of both returns of a component."""
    return tuple(f"{part}.range_image_return{number}.{what}" for number in (1, 2) for what in ("values", "shape"))


@dataclass(frozen=True)
class Tables:
    """Readers of the components that a lidar is read from; None for those that are not on disk."""

    lidar: RowReader
    poses: RowReader | None
    labels: RowReader | None
    projections: RowReader | None


@dataclass(frozen=True)
class RangeImages:
    """``read`` of a lidar.

    Attributes:
        tables: that it is read from.
        geometry: of the lidar.
        rows: table -> row of each sweep; None where it has none.
        world_SE3_lidar: (N, 4, 4) the lidar at the start of each sweep.
    """

    tables: Tables
    geometry: LidarGeometry
    rows: dict[str, tuple[int | None, ...]]
    world_SE3_lidar: np.ndarray

    def __call__(self, index: int) -> Sweep:
        """Read sweep ``index`` with both returns.

        Raises:
            DataError: damaged, or of another shape than the first one.
        """
        images, poses, labels = (self._read(name, index) for name in ("lidar", "poses", "labels"))
        place = self._place("lidar", index)
        if images[0] is None:
            raise place.error("no first return", "a range image")
        made = [make_return(by_rows(image), labels[number], self.geometry, place)
                for number, image in enumerate(images) if image is not None]  # fmt: skip
        if poses[0] is not None:
            made = with_points(made, by_rows(poses[0]), self.geometry, self.world_SE3_lidar[index])
        return made[0] if len(made) == 1 else replace(made[0], second_return=made[1])

    def camera_projections(self, index: int, second: bool = False) -> np.ndarray | None:
        """Return (rows, columns, 6) int32, as of the records of v1.

        Raises:
            DataError: damaged.
        """
        return self._read("projections", index)[int(second)]

    def _read(self, name: str, index: int) -> list[np.ndarray | None]:
        """Return the matrices of both returns of a table."""
        row, table = self.rows[name][index], getattr(self.tables, name)
        if row is None or table is None:
            return [None, None]
        values, names = table(row), table.names
        return [self._matrix(name, index, values[names[at]], values[names[at + 1]]) for at in (0, 2)]

    def _matrix(self, name: str, index: int, values: Any, shape: Any) -> np.ndarray | None:
        if values is None or shape is None:
            return None
        expected = (*self.geometry.shape, _CHANNELS[name])
        found = tuple(np.asarray(shape).tolist()) if isinstance(shape, np.ndarray) else ()
        count = len(values) if isinstance(values, np.ndarray) else 0
        if found != expected or count != math.prod(expected):
            raise self._place(name, index).error(f"{count} values of shape {found}", f"shape {expected}")
        dtype = np.float32 if name in ("lidar", "poses") else np.int32
        return values.astype(dtype, copy=False).reshape(expected)

    def _place(self, name: str, index: int) -> Place:
        table = getattr(self.tables, name)
        return Place(table.path, table.clip or "", f"row {self.rows[name][index]}, {self.geometry.name}")


@dataclass(frozen=True)
class Images:
    """``read`` of a camera: JPEGs in a column."""

    table: RowReader
    name: str
    rows: tuple[int, ...]

    def __call__(self, index: int) -> np.ndarray:
        """Return image ``index`` as (H, W, 3) uint8 RGB.

        Raises:
            DataError: it is damaged.
        """
        row = self.rows[index]
        content = self.table(row)[self.table.names[0]]
        place = Place(self.table.path, self.table.clip or "", f"row {row}, image of {self.name}")
        if not isinstance(content, bytes):
            raise place.error("no image", "bytes of a JPEG")
        return read_image(content, file=place.file, clip=place.clip, key=place.key)
