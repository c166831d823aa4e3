"""Sparse range maps in tars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cosmos_lidar.clips.sweep import RETURN_VALUES, Sweep
from cosmos_lidar.clips.tar_index import TarIndex
from cosmos_lidar.errors import DataError

# Beyond the published parts: values that lie in ``labels/<clip>.tar``.
BESIDE = {"labels": "lidar_label", "instance": "lidar_instance", "time_us": "lidar_time"}


@dataclass(frozen=True)
class ReleaseSweeps:
    """``read`` of a lidar of the release: the sparse members of one frame made dense.

    Attributes:
        clip_id: as the members are named.
        tar: the lidar tar.
        stems: ``<clip>.<frame>`` per sweep.
        shape: (rows, columns) of the sensor.
        labels: tar of ``<clip>.<frame>.lidar_label.npz`` and what else lies in :data:`BESIDE`; or None.
    """

    clip_id: str
    tar: TarIndex
    stems: tuple[str, ...]
    shape: tuple[int, int]
    labels: TarIndex | None = None

    def __call__(self, index: int) -> Sweep:
        """Read sweep ``index``.

        Raises:
            DataError: a member is missing, broken, of a wrong kind, or points outside the sensor's map.
        """
        rows = self._indices(index, "lidar_row", self.shape[0])
        columns = self._indices(index, "lidar_col", self.shape[1])
        ranges = self._values(index, "lidar_range", self.tar, "f")
        self._same_length(index, rows, columns, ranges)
        if not (np.isfinite(ranges) & (ranges >= 0)).all():
            wrong = int((~(np.isfinite(ranges) & (ranges >= 0))).sum())
            self._complain(index, "lidar_range", f"{wrong} of {len(ranges)} ranges NaN, infinite or negative", "meters")
        at = rows.astype(np.intp)
        at *= self.shape[1]
        at += columns.astype(np.intp, copy=False)
        del rows, columns
        values: dict[str, Any] = {}
        if f"{self.stems[index]}.lidar_intensity.npz" in self.tar.members:
            values["intensity"] = self._dense(index, at, "lidar_intensity", self.tar, "fiu", np.float32)
        for name, part in BESIDE.items():
            if self.labels is not None and f"{self.stems[index]}.{part}.npz" in self.labels.members:
                values[name] = self._dense(index, at, part, self.labels, "iu", RETURN_VALUES[name])
        return Sweep(range_m=self._filled(at, ranges, np.float32), **values)

    def _dense(self, index: int, at: np.ndarray, part: str, tar: TarIndex, kinds: str, dtype: type) -> np.ndarray:
        values = self._values(index, part, tar, kinds)
        self._same_length(index, at, at, values)
        return self._filled(at, values, dtype)

    def _filled(self, at: np.ndarray, values: np.ndarray, dtype: type) -> np.ndarray:
        """Return a map of values at flat places."""
        dense = np.zeros(self.shape, np.dtype(dtype))
        dense.reshape(-1)[at] = values
        return dense

    def _values(self, index: int, part: str, tar: TarIndex, kinds: str) -> np.ndarray:
        # one number of at most 8 bytes for each pixel, and room for files that hold some pixels twice
        limit = 32 * self.shape[0] * self.shape[1]
        values = tar.read_array(f"{self.stems[index]}.{part}.npz", self.clip_id, limit)
        if values.dtype.kind not in kinds or values.ndim != 1:
            kind = "floating point" if kinds == "f" else "integers" if kinds == "iu" else "numbers"
            self._complain(index, part, f"dtype {values.dtype}, shape {values.shape}", f"one row of {kind}")
        return values

    def _indices(self, index: int, part: str, limit: int) -> np.ndarray:
        values = self._values(index, part, self.tar, "iu")
        if len(values) and not (0 <= int(values.min()) and int(values.max()) < limit):
            wanted = f"0 to {limit - 1}; a dataset of another sensor needs sensor.yaml or --sensor"
            self._complain(index, part, f"values from {values.min()} to {values.max()}", wanted)
        return values

    def _same_length(self, index: int, rows: np.ndarray, columns: np.ndarray, values: np.ndarray) -> None:
        if not len(rows) == len(columns) == len(values):
            lengths = f"{len(rows)} rows, {len(columns)} columns, {len(values)} values"
            self._complain(index, "lidar_row", lengths, "as many of each")

    def _complain(self, index: int, part: str, problem: str, wanted: str) -> None:
        key = f"{self.stems[index]}.{part}.npz"
        raise DataError(problem, file=self.tar.path, clip=self.clip_id, key=key, wanted=wanted)
