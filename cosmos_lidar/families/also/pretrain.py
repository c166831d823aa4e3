"""ALSO pre-training as a NeMo model: losses of a batch over pairs of query and neighbor, and the validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from cosmos_lidar.families.also.config import AlsoTrainConfig
from cosmos_lidar.families.also.data import PretextBatch, ragged_fields
from cosmos_lidar.families.also.network import Prediction, PretextNetwork
from cosmos_lidar.families.also.samples import PretextCloud
from cosmos_lidar.losses.occupancy import OccupancyLoss, occupancy_loss, pair_counts
from cosmos_lidar.losses.occupancy_queries import Queries
from cosmos_lidar.metrics.iou import ConfusionMatrix
from cosmos_lidar.models.sparse.voxels import Voxels
from cosmos_lidar.parallel.batch_norm import synchronize_batch_norm
from cosmos_lidar.parallel.ranks import mean_over_ranks
from cosmos_lidar.training.model import TrainedModel

_EXAMPLE = 32  # voxels


class PretrainModel(TrainedModel):
    """Train a backbone to predict the occupancy of query points.

    Args:
        run: the resolved configuration.
        network: backbone and decoder; parameters appear as ``network.backbone.*`` and ``network.decoder.*``.
        folder: of the run.

    Losses are means over the pairs of all ranks together; batch norm has the statistics of the voxels of all ranks.
    """

    columns = ("loss", "occupancy", "intensity")
    val_columns = ("val/loss", "val/occupancy", "val/intensity", "val/iou")
    item_name = "voxels"
    flops_unknown = "they depend on the voxels of each batch"

    def __init__(self, run: AlsoTrainConfig, network: PretextNetwork, folder: Path) -> None:
        super().__init__(run, network, folder)

    def parallelize(self) -> None:
        """Let all ranks share the statistics of batch norm, and parallelize the network."""
        if self._device_mesh is not None and dist.get_world_size() > 1:
            everyone = dist.group.WORLD
            assert everyone is not None
            synchronize_batch_norm(self.network, everyone)
        super().parallelize()

    def inputs(self, batch: PretextBatch) -> dict[str, Any]:
        """Return voxels, points and queries of a batch, as the network takes them."""
        return {
            "voxels": batch.voxels,
            "feats": batch.feats.values.to(self.compute_dtype),
            "points": batch.points.values,
            "point_clouds": batch.points.batch_index,
            "voxel_of_point": batch.voxel_rows,
            "queries": batch.queries.values,
            "query_clouds": batch.queries.batch_index,
            "clouds": len(batch.coords),
            "seed": batch.seeds[0],
        }

    def step(self, batch: PretextBatch) -> dict[str, Tensor]:
        """Return ``loss``, ``occupancy`` and ``intensity`` of one batch, this rank's share of the means of all."""
        predicted = self.network(**self.inputs(batch))
        terms = _terms(predicted, batch)
        shares = [self._share(count) for count in _counts(predicted, batch)]
        return self._weighted(*(term * share for term, share in zip(terms, shares, strict=True)))

    def _weighted(self, occupancy: Tensor, intensity: Tensor) -> dict[str, Tensor]:
        weights = self.run.model.loss
        loss = weights.occupancy * occupancy + weights.intensity * intensity
        return {"loss": loss, "occupancy": occupancy, "intensity": intensity}

    def _share(self, count: int) -> float:
        """Return what a mean over ``count`` pairs is multiplied by, so that the mean over ranks is that of all."""
        mean = mean_over_ranks(float(count), self.device)
        return count / mean if mean else 1.0

    def items_of(self, batch: PretextBatch) -> int:
        """Return the voxels of a batch."""
        return len(batch.coords.values)

    def example_batch(self, count: int) -> PretextBatch:
        """Return ``count`` sweeps, each a line of points."""
        cells = torch.arange(_EXAMPLE)[:, None].expand(_EXAMPLE, 3)
        points, rows = cells * self.run.model.voxel_sizes[-1], torch.arange(_EXAMPLE)
        voxels = Voxels(cells, torch.zeros(_EXAMPLE, self.run.model.channels), rows)
        queries = Queries(points, torch.zeros_like(rows), torch.zeros(_EXAMPLE, 1))
        cloud = PretextCloud(voxels, points, queries)
        fields: dict[str, Any] = {"__key__": [""] * count, "__restore_key__": (), "clip_ids": [], "seeds": [0] * count}
        return PretextBatch(**fields, **ragged_fields([cloud] * count))

    def validation_step(self, batch: PretextBatch, batch_idx: int) -> dict[str, Any]:
        """Return sums over the pairs of one batch, to be pooled over batches and ranks by :meth:`pool_validation`."""
        predicted = self.network(**self.inputs(batch))
        terms = _terms(predicted, batch)
        counts = _counts(predicted, batch)
        confusion = pair_counts(predicted.values, predicted.pairs, batch.occupied.values)
        sums = [float(term) * count for term, count in zip(terms, counts, strict=True)]
        return {"sums": sums, "counts": counts, "confusion": confusion.tolist()}

    def pool_validation(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Return the ``val/`` values: means over the pairs of all batches, and the mean IoU of occupied and free."""
        sums, counts = (torch.tensor([result[name] for result in results]).sum(0) for name in ("sums", "counts"))
        means = self._weighted(*(sums / counts.clamp(min=1)))
        matrix = ConfusionMatrix(2, ignore=None)
        for result in results:
            matrix.counts += result["confusion"]
        return {f"val/{name}": float(value) for name, value in means.items()} | {"val/iou": matrix.mean_iou()}


def _terms(predicted: Prediction, batch: PretextBatch) -> OccupancyLoss:
    """Return the terms of the loss, means over the pairs of this batch."""
    return occupancy_loss(predicted.values, predicted.pairs, batch.occupied.values, batch.intensities.values)


def _counts(predicted: Prediction, batch: PretextBatch) -> list[int]:
    """Return the pairs that the terms of the loss are means over: all of them, and those with an intensity."""
    queries = predicted.pairs.queries
    return [len(queries), int((batch.intensities.values[queries] >= 0).sum())]
