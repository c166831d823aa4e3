"""Sweeps of PhysicalAI-Autonomous-Vehicles: a Draco cloud per spin becomes a range image by its model elements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cosmos_lidar.clips.blocks import BLOCK, blocks
from cosmos_lidar.clips.draco import decode_cloud
from cosmos_lidar.clips.parquet import read_cell
from cosmos_lidar.clips.range_images import image_of_values, range_image_of_elements
from cosmos_lidar.clips.spans import FileSpan
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.clips.sweep_times import after_start_us
from cosmos_lidar.errors import DataError

CLOUD = "draco_encoded_pointcloud"


@dataclass(frozen=True)
class DracoSweeps:
    """``read`` of the lidar of a clip.

    Attributes:
        clip_id: for messages.
        source: the table with one cloud per row.
        starts_us: (N,) int64 start of each sweep.
        shape: rows and columns of the lidar's model; its elements become a range image. None: points as they are.
        ego_SE3_lidar: (4, 4) mounting; None where unknown.
        box: (2, 3) corners, in axes of the vehicle, of what is left out; None where unknown.
    """

    clip_id: str
    source: FileSpan
    starts_us: np.ndarray
    shape: tuple[int, int] | None
    ego_SE3_lidar: np.ndarray | None
    box: np.ndarray | None

    def __call__(self, index: int) -> Sweep:
        """Read sweep ``index``.

        Raises:
            DataError: a broken cloud, attributes of other shapes, elements outside the model, no point left.
        """
        points, attributes = decode_cloud(
            read_cell(self.source, CLOUD, index, self.clip_id), self.source.path, self.clip_id
        )
        squared = np.einsum("ij,ij->i", points, points)
        kept = (squared > 0) & (squared < np.inf) & ~self._is_vehicle(points)  # NaN fails both
        if not kept.any():
            raise self._broken(f"no return outside the vehicle among {len(points)} points", CLOUD, index)
        without = int(len(kept) - kept.sum())
        values = self._values(attributes, kept, index)
        del attributes
        distance = np.sqrt(squared if without == 0 else squared[kept])
        del squared
        points = points if without == 0 else points[kept]
        element = values.pop("element", None)
        if element is None:
            return Sweep(points=points, without_return=without, **values)
        if self.shape is None:
            return Sweep(points=points, ring=element[:, 0].astype(np.uint16), without_return=without, **values)
        pixel = self._pixels(element, index)
        held = {"points": points, "range_m": distance, **values}
        del points, distance, values, element  # the first way of the next two frees them one by one
        image = image_of_values(held, pixel, self.shape)
        if image is None:
            points, distance = held.pop("points"), held.pop("range_m")
            image = range_image_of_elements(points, distance, pixel, self.shape, held)
            if image is None:
                image = {"points": points, "ring": (pixel // self.shape[1]).astype(np.uint16), **held}
        return Sweep(**image, without_return=without)

    def _pixels(self, element: np.ndarray, index: int) -> np.ndarray:
        """Return (N,) int32 row * columns + column."""
        rows, columns = self.shape or (0, 0)
        row, column = element.T
        if row.max() >= rows or column.max() >= columns:
            found = f"element ({row.max()}, {column.max()})"
            raise self._broken(found, "model_element", index, f"those of a model of {self.shape}")
        pixel = row.astype(np.int32)
        pixel *= np.int32(columns)
        for part in blocks(len(pixel)):
            pixel[part] += column[part].astype(np.int32)
        return pixel

    def _is_vehicle(self, points: np.ndarray) -> np.ndarray:
        """Return (N,) bool: which points lie in the vehicle's box."""
        if self.box is None or self.ego_SE3_lidar is None:
            return np.zeros(len(points), bool)
        pose = self.ego_SE3_lidar.astype(np.float32)
        low, high = self.box.astype(np.float32)
        inside = np.ones(len(points), bool)
        for part in blocks(len(points), BLOCK):
            along = points[part] @ pose[:3, :3].T + pose[:3, 3]
            for axis in range(3):
                inside[part] &= (along[:, axis] >= low[axis]) & (along[:, axis] <= high[axis])
        return inside

    def _values(self, attributes: dict[str, np.ndarray], kept: np.ndarray, index: int) -> dict[str, Any]:
        """Return intensity, time_us and element of the kept points, those that the cloud has."""
        everything = bool(kept.all())
        found: dict[str, Any] = {}
        for name, dims in (("intensity", 1), ("timestamp", 1), ("model_element", 2)):
            if name not in attributes:
                continue
            value = attributes.pop(name)
            if value.ndim != dims or (dims == 2 and value.shape[1] != 2) or value.dtype.kind not in "iuf":
                wanted = "one number per point" if dims == 1 else "row and column per point"
                raise self._broken(f"{value.dtype} {value.shape}", name, index, wanted)
            found[name] = value if everything else value[kept]
        values: dict[str, Any] = {}
        if "intensity" in found:
            values["intensity"] = found.pop("intensity").astype(np.float32)
        if "timestamp" in found:
            values["time_us"] = self._times(found.pop("timestamp"), index)
        if "model_element" in found:
            element = found.pop("model_element")
            if element.dtype.kind != "u" and (element.min() < 0 or (element != np.floor(element)).any()):
                raise self._broken(f"elements from {element.min()} on", "model_element", index)
            values["element"] = element
        return values

    def _times(self, stamps: np.ndarray, index: int) -> np.ndarray:
        """Return (N,) int32 microseconds after the start of the sweep."""
        if stamps.dtype == np.uint32:  # DracoPy returns integers of 32 bits without their sign
            stamps = stamps.view(np.int32)
        try:
            return after_start_us(stamps, int(self.starts_us[index]))
        except ValueError as error:
            wanted = "microseconds, on the clock of spin_start_timestamp"
            raise self._broken(str(error), "timestamp", index, wanted) from None

    def _broken(self, problem: str, key: str, index: int, wanted: str = "a cloud of the lidar") -> DataError:
        key = f"{key}, row {index}"
        return DataError(problem, file=self.source.path, clip=self.clip_id, key=key, wanted=wanted)
