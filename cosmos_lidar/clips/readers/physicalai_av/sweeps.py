"""Sweeps of PhysicalAI-Autonomous-Vehicles: a Draco cloud per spin becomes a range image by its model elements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cosmos_lidar.clips.draco import decode_cloud
from cosmos_lidar.clips.parquet import read_cell
from cosmos_lidar.clips.range_images import range_image_of_elements
from cosmos_lidar.clips.spans import FileSpan
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.errors import DataError

CLOUD = "draco_encoded_pointcloud"
_LONGEST_US = 10_000_000  # between the start of a sweep and one of its points


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
        content = read_cell(self.source, CLOUD, index, self.clip_id)
        points, attributes = decode_cloud(content, self.source.path, self.clip_id)
        squared = np.einsum("ij,ij->i", points, points)
        kept = (squared > 0) & (squared < np.inf) & ~self._is_vehicle(points)  # NaN fails both
        if not kept.any():
            raise self._broken(f"no return outside the vehicle among {len(points)} points", CLOUD, index)
        without = int(len(kept) - kept.sum())
        values = self._values(attributes, kept, index)
        distance = np.sqrt(squared if without == 0 else squared[kept])
        points = points if without == 0 else points[kept]
        element = values.pop("element", None)
        if element is None:
            return Sweep(points=points, without_return=without, **values)
        row, column = element.T
        if self.shape is not None:
            if row.max() >= self.shape[0] or column.max() >= self.shape[1]:
                found = f"element ({row.max()}, {column.max()})"
                raise self._broken(found, "model_element", index, f"those of a model of {self.shape}")
            pixel = row.astype(np.int32) * np.int32(self.shape[1]) + column.astype(np.int32)
            image = range_image_of_elements(points, distance, pixel, self.shape, values)
            if image is not None:
                return Sweep(**image, without_return=without)
        return Sweep(points=points, ring=row.astype(np.uint16), without_return=without, **values)

    def _is_vehicle(self, points: np.ndarray) -> np.ndarray:
        """Return (N,) bool: which points lie in the vehicle's box."""
        if self.box is None or self.ego_SE3_lidar is None:
            return np.zeros(len(points), bool)
        pose = self.ego_SE3_lidar.astype(np.float32)
        low, high = self.box.astype(np.float32)
        along = points @ pose[:3, :3].T + pose[:3, 3]
        inside = (along[:, 0] >= low[0]) & (along[:, 0] <= high[0])
        for axis in (1, 2):
            inside &= (along[:, axis] >= low[axis]) & (along[:, axis] <= high[axis])
        return inside

    def _values(self, attributes: dict[str, np.ndarray], kept: np.ndarray, index: int) -> dict[str, Any]:
        """Return intensity, time_us and element of the kept points, those that the cloud has."""
        everything = bool(kept.all())
        found: dict[str, Any] = {}
        for name, dims in (("intensity", 1), ("timestamp", 1), ("model_element", 2)):
            if name not in attributes:
                continue
            value = attributes[name]
            if value.ndim != dims or (dims == 2 and value.shape[1] != 2) or value.dtype.kind not in "iuf":
                wanted = "one number per point" if dims == 1 else "row and column per point"
                raise self._broken(f"{value.dtype} {value.shape}", name, index, wanted)
            found[name] = value if everything else value[kept]
        values: dict[str, Any] = {}
        if "intensity" in found:
            values["intensity"] = found["intensity"].astype(np.float32)
        if "timestamp" in found:
            values["time_us"] = self._times(found["timestamp"], index)
        if "model_element" in found:
            element = found["model_element"]
            if element.dtype.kind != "u" and (element.min() < 0 or (element != np.floor(element)).any()):
                raise self._broken(f"elements from {element.min()} on", "model_element", index)
            values["element"] = element
        return values

    def _times(self, stamps: np.ndarray, index: int) -> np.ndarray:
        """Return (N,) int32 microseconds after the start of the sweep."""
        if stamps.dtype == np.uint32:  # DracoPy returns integers of 32 bits without their sign
            stamps = stamps.view(np.int32)
        after = stamps.astype(np.int64) - self.starts_us[index]
        if after.min() < -_LONGEST_US or after.max() > _LONGEST_US:
            found = f"{after.min()} to {after.max()} us after the start of the sweep"
            raise self._broken(found, "timestamp", index, "microseconds, on the clock of spin_start_timestamp")
        return after.astype(np.int32)

    def _broken(self, problem: str, key: str, index: int, wanted: str = "a cloud of the lidar") -> DataError:
        key = f"{key}, row {index}"
        return DataError(problem, file=self.source.path, clip=self.clip_id, key=key, wanted=wanted)
