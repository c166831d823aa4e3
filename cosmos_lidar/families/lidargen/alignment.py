"""Targets of representation alignment: features of a pre-trained lidar backbone, means over tokens of range maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.models.sparse import SparseTensor
from cosmos_lidar.models.sparse.backbone import Backbone
from cosmos_lidar.models.sparse.inputs import VoxelInput
from cosmos_lidar.sensors import range_map_to_points
from cosmos_lidar.sensors.range_image import cut_columns
from cosmos_lidar.sensors.sensor import Sensor

_PATCH = 2  # latents of a token, along rows and columns


class PixelPoints(NamedTuple):
    """The returns of a range map.

    Attributes:
        points: (N, 3) float32 meters, in the axes of the lidar.
        intensities: (N,) in the units of the recording; None where it has none.
        rows: (N,) of the range map.
        columns: (N,) of the range map.
    """

    points: np.ndarray
    intensities: np.ndarray | None
    rows: np.ndarray
    columns: np.ndarray


def pixel_points(clip: Clip, index: int) -> PixelPoints:
    """Return the returns of the range map of a sweep of the main lidar, with their intensities."""
    sweep, point = clip.read_sweep(index), None
    if sweep.range_m is not None:
        range_m, intensity = sweep.range_m, sweep.intensity
    else:
        projection = clip.project(sweep, index)
        range_m, point, intensity = np.asarray(projection.range_m), np.asarray(projection.point_index), sweep.intensity
    seen = range_m > 0
    rows, columns = np.nonzero(seen)
    points = np.asarray(range_map_to_points(range_m, clip.sensor), np.float32)
    if intensity is not None:
        intensity = intensity[seen] if point is None else intensity[point[seen]]
    return PixelPoints(points, intensity, rows, columns)


@dataclass(frozen=True)
class AlignmentFeatures:
    """Features of a backbone as targets of tokens: the mean over the returns in the pixels of a token.

    Attributes:
        network: the backbone, without its last layer, in evaluation.
        given: how its voxels are made.
        intensity_scale: intensities of the recordings are divided by this, as in its training.
        lidar_step: pixels of a range map, along rows and columns, that one latent stands for.
    """

    network: Backbone
    given: VoxelInput
    intensity_scale: float
    lidar_step: int

    def grid(self, sensor: Sensor) -> tuple[int, int]:
        """Return (rows, columns) of the tokens of the range maps of a sensor."""
        rows, columns, step = *self._image_size(sensor), _PATCH * self.lidar_step
        return -(-rows // step), -(-columns // step)

    def __call__(self, clip: Clip, index: int, mirrored: bool = False) -> np.ndarray:
        """Return (rows, columns, D) float32, a vector per token; zeros where no return is.

        Recordings without intensities have 1 for all.

        Args:
            clip: with a lidar.
            index: number of the sweep.
            mirrored: of the sweep as a mirror shows it.

        Raises:
            DataError: the sweep cannot be read.
        """
        found, (rows, columns) = pixel_points(clip, index), self.grid(clip.sensor)
        mean = np.zeros((rows, columns, self.network.out_channels), np.float32)
        points = torch.from_numpy(found.points * (np.array([1, -1, 1], np.float32) if mirrored else np.float32(1)))
        if not bool(self.given.inside(points).any()):
            return mean
        scaled = np.ones(len(points)) if found.intensities is None else found.intensities / self.intensity_scale
        features, there = self._features(points, torch.from_numpy(scaled.astype(np.float32))[:, None])
        token = torch.from_numpy(self._tokens(clip.sensor, found, mirrored))
        used = there & (token >= 0)
        sums = torch.zeros(rows * columns, features.shape[1] + 1, dtype=torch.float64)
        ones = torch.ones(int(used.sum()), 1)
        sums.index_add_(0, token[used], torch.cat([features[used], ones], 1).double())
        means = sums[:, :-1] / sums[:, -1:].clamp(min=1)
        return means.view(rows, columns, -1).float().numpy()

    @torch.no_grad()
    def _features(self, points: Tensor, intensities: Tensor) -> tuple[Tensor, Tensor]:
        """Return (N, D) features of points, those of their voxels, and (N,) which points have a voxel."""
        device = next(self.network.parameters()).device
        voxels = self.given.voxels(points.to(device), intensities.to(device))
        coords = torch.nn.functional.pad(voxels.coords, (1, 0))
        features = self.network(SparseTensor(coords, voxels.feats, 1)).float()
        return features[voxels.voxel_of_point].cpu(), (voxels.voxel_of_point >= 0).cpu()

    def _tokens(self, sensor: Sensor, found: PixelPoints, mirrored: bool) -> np.ndarray:
        """Return (N,) the token of each return, counted row by row; -1 outside the cut."""
        form, step = sensor.format, _PATCH * self.lidar_step
        _, width = self._image_size(sensor)
        start = (sensor.columns // form.pair_columns - width) // 2
        columns = found.columns // form.pair_columns - start
        inside = (columns >= 0) & (columns < width)
        columns = width - 1 - columns if mirrored else columns
        token = found.rows * form.repeat_rows // step * self.grid(sensor)[1] + columns // step
        return np.where(inside, token, -1)

    def _image_size(self, sensor: Sensor) -> tuple[int, int]:
        """Return (rows, columns) of the image that is encoded, see :func:`cut_image`; rows that fill latents."""
        form, step = sensor.format, self.lidar_step
        rows = sensor.rows * form.repeat_rows // step * step
        return rows, cut_columns(form, sensor.columns // form.pair_columns, step)
