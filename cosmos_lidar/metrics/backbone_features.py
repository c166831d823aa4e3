"""Features of a sparse lidar backbone, for a Frechet distance of generated or reconstructed lidar.

A backbone that was pre-trained without labels (ALSO) describes point clouds of any sensor, where the networks of FRID
and FSVD belong to SemanticKITTI. A sweep is the mean of the features of its voxels, as in FSVD (LiDAR Diffusion Models,
arXiv 2404.00815). The distance is that of :mod:`cosmos_lidar.metrics.frechet`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.log import logger
from cosmos_lidar.metrics import Accumulator
from cosmos_lidar.metrics.frechet import FeatureStatistics, frechet_distance, frechet_protocol
from cosmos_lidar.metrics.protocol import Protocol
from cosmos_lidar.models.sparse import SparseTensor
from cosmos_lidar.models.sparse.backbone import Backbone
from cosmos_lidar.models.sparse.inputs import VoxelInput

COLUMN = "frechet_backbone_distance"


class BackboneFeatures:
    """Mean over the voxels of a point cloud of what a backbone gives for each, in float64.

    Clouds of range maps have no intensities: a backbone that was trained with them is given 1 for all. A cloud without
    points (of SECOND: in its range) has a vector of zeros, and is counted in ``empty``.

    Args:
        network: the backbone, without its last layer; set to evaluation.
        given: how its voxels are made.
        weights: hash of its weights, for the name.

    Attributes:
        name: of the network, its voxels and weights: numbers of equal names may be compared.
        empty: clouds so far that had no points.

    Raises:
        DataError: the network takes another number of features per voxel.
    """

    def __init__(self, network: Backbone, given: VoxelInput, weights: str) -> None:
        channels = sum(3 if part == "pos" else 1 for part in given.parts)
        if network.in_channels != channels:
            found = f"{network.name} of {network.in_channels} input channels"
            raise DataError(found, wanted=f"{channels} for {', '.join(given.parts)}")
        self._network, self._given, self.empty = network.eval(), given, 0
        size = " x ".join(f"{value:g}" for value in given.voxel_sizes)
        extent = f" in {', '.join(f'{value:g}' for value in given.extent)}" if given.extent else ""
        parts = ", ".join("intensities of 1" if part == "intensities" else part for part in given.parts)
        self.name = f"{network.name}, mean over voxels of {size} m{extent}, of {parts}, weights {weights[:12]}"
        if "intensities" in given.parts:
            logger.warning("%s: range maps have no intensities, all are taken as 1", network.name)

    @torch.no_grad()
    def __call__(self, clouds: Sequence[np.ndarray]) -> np.ndarray:
        """Return (B, D), a vector per cloud.

        Args:
            clouds: (N, 3) meters in the frame of the sensor, one after the other.

        Raises:
            DataError: other shapes, or coordinates that are not finite.
        """
        return np.stack([self._mean(torch.as_tensor(np.asarray(cloud), dtype=torch.float32)) for cloud in clouds])

    def _mean(self, points: Tensor) -> np.ndarray:
        if points.ndim != 2 or points.shape[1] != 3 or not bool(points.isfinite().all()):
            found = f"points of shape {tuple(points.shape)}"
            raise DataError(found, key="points", wanted="(N, 3) finite meters")
        if not bool(self._given.inside(points).any()):
            self.empty += 1
            return np.zeros(self._network.out_channels)
        points = points.to(next(self._network.parameters()).device)
        voxels = self._given.voxels(points, points.new_ones(len(points), 1))
        coords = torch.nn.functional.pad(voxels.coords, (1, 0))
        return self._network(SparseTensor(coords, voxels.feats, 1)).double().mean(0).cpu().numpy()


class BackboneDistance(Accumulator[tuple[np.ndarray, np.ndarray]]):
    """Frechet distance of the features of recorded and made clouds, pair by pair, over batches, clips and ranks.

    Means and covariances are kept, not the vectors.

    Args:
        features: of a backbone.
    """

    def __init__(self, features: BackboneFeatures) -> None:
        self._features = features
        self.recorded, self.made = FeatureStatistics(features.name), FeatureStatistics(features.name)

    def add(self, sample: tuple[np.ndarray, np.ndarray]) -> None:
        """Add a recorded cloud (N, 3) and the one (M, 3) made of it or for it, meters."""
        vectors = self._features(sample)
        self.recorded.add(vectors[:1])
        self.made.add(vectors[1:])

    def merge(self, other: BackboneDistance) -> None:
        """Add the pairs of another one.

        Raises:
            DataError: it is of another backbone.
        """
        self.recorded.merge(other.recorded)
        self.made.merge(other.made)

    def result(self) -> dict[str, float]:
        """Return the distance by its column; NaN for fewer than two pairs, which have no covariance."""
        return {COLUMN: frechet_distance(self.recorded, self.made) if self.recorded.count > 1 else float("nan")}


def backbone_protocol(source: str) -> Protocol:
    """Return the protocol of the distance.

    Args:
        source: name of the features.
    """
    return frechet_protocol(COLUMN, source)
