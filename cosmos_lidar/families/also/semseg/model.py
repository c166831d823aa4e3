"""Semantic segmentation as a NeMo model: loss of a batch over labeled points, and IoU in the validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cosmos_lidar.families.also.semseg.config import SemsegTrainConfig
from cosmos_lidar.families.also.semseg.data import SemsegBatch, ragged_fields
from cosmos_lidar.families.also.semseg.network import SegmentationNetwork
from cosmos_lidar.families.also.semseg.samples import LabeledCloud
from cosmos_lidar.families.also.sparse_model import SparseModel
from cosmos_lidar.losses.segmentation import lovasz_softmax, segmentation_loss
from cosmos_lidar.metrics.iou import ConfusionMatrix, spread_labels
from cosmos_lidar.models.sparse.voxels import Voxels
from energon_tasks.batches import Ragged

_EXAMPLE = 64  # points of an example: more voxels than the largest stride


class SemsegModel(SparseModel):
    """Train a backbone to classify points.

    Args:
        run: the resolved configuration.
        network: backbone with one output per class.
        folder: of the run.
        classes: number of classes; class 0 is ignored and never predicted.

    The cross-entropy is the mean over the labeled points of all ranks together; batch norm has the statistics of the
    voxels of all ranks.
    """

    columns = ("loss", "cross_entropy", "lovasz")
    val_columns = ("val/loss", "val/miou", "val/fiou", "val/accuracy", "val/miou_decimated")

    def __init__(self, run: SemsegTrainConfig, network: SegmentationNetwork, folder: Path, classes: int) -> None:
        super().__init__(run, network, folder)
        self.classes = classes

    @property
    def trains_batch_norm(self) -> bool:
        """False for linear probing."""
        return not self.run.model.linear_probing

    def inputs(self, batch: SemsegBatch) -> dict[str, Any]:
        """Return the voxels of a batch as the network takes them."""
        return {
            "voxels": batch.voxels,
            "feats": batch.feats.values.to(self.compute_dtype),
            "voxel_of_point": batch.voxel_rows,
            "clouds": len(batch.coords),
        }

    def step(self, batch: SemsegBatch) -> dict[str, Tensor]:
        """Return ``loss``, ``cross_entropy`` and ``lovasz`` of one batch, this rank's share of the means of all."""
        values = self._losses(self.network(**self.inputs(batch)), batch.classes.values)
        share = self.share_of(int((batch.classes.values > 0).sum()))
        return {name: value * share for name, value in values.items()}

    def _losses(self, scores: Tensor, classes: Tensor) -> dict[str, Tensor]:
        weights = self.run.model.loss
        none = scores.sum() * 0
        entropy = segmentation_loss(scores, classes) if weights.cross_entropy else none
        lovasz = lovasz_softmax(scores, classes) if weights.lovasz else none
        loss = weights.cross_entropy * entropy + weights.lovasz * lovasz
        return {"loss": loss, "cross_entropy": entropy, "lovasz": lovasz}

    def example_batch(self, count: int) -> SemsegBatch:
        """Return ``count`` sweeps, each a line of points."""
        rows = torch.arange(_EXAMPLE)
        cells, labels = rows[:, None].expand(_EXAMPLE, 3), torch.ones_like(rows)
        voxels = Voxels(cells, torch.zeros(_EXAMPLE, self.run.model.channels), rows)
        points = cells * self.run.model.voxel_size
        cloud = LabeledCloud(voxels, points, labels)
        fields: dict[str, Any] = {"__key__": [""] * count, "__restore_key__": (), "clip_ids": []}
        none = {"all_points": points[:0], "all_classes": labels[:0]}
        fields |= {name: Ragged.from_list([tensor] * count) for name, tensor in none.items()}
        return SemsegBatch(**fields, **ragged_fields([cloud] * count))

    def validation_step(self, batch: SemsegBatch, batch_idx: int) -> dict[str, Any]:
        """Return sums over one batch, to be pooled over batches and ranks by :meth:`pool_validation`."""
        scores = self.network(**self.inputs(batch)).float()
        classes = batch.classes.values
        count = int((classes > 0).sum())
        predicted = Ragged(predicted_classes(scores), batch.points.offsets)
        every, decimated = ConfusionMatrix(self.classes), ConfusionMatrix(self.classes)
        for number in range(len(batch.points)):
            _count(every, decimated, batch, number, predicted[number].cpu().numpy())
        loss = float(self._losses(scores, classes)["loss"]) * count
        return {"count": count, "loss": loss, "matrices": [every.counts.tolist(), decimated.counts.tolist()]}

    def pool_validation(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Return the ``val/`` values: IoU of one matrix over all points, and over the decimated ones."""
        every, decimated = ConfusionMatrix(self.classes), ConfusionMatrix(self.classes)
        for result in results:
            for matrix, counts in zip((every, decimated), result["matrices"], strict=True):
                matrix.counts += np.array(counts)
        count = max(sum(result["count"] for result in results), 1)
        return {
            "val/loss": sum(result["loss"] for result in results) / count,
            "val/miou": every.mean_iou(),
            "val/fiou": every.frequency_iou(),
            "val/accuracy": every.accuracy(),
            "val/miou_decimated": decimated.mean_iou(),
        }


def predicted_classes(scores: Tensor) -> Tensor:
    """Return (N,) int64 the class of the highest score of (N, classes); class 0 is never predicted."""
    return scores[:, 1:].argmax(1) + 1


def _count(
    every: ConfusionMatrix, decimated: ConfusionMatrix, batch: SemsegBatch, sweep: int, found: np.ndarray
) -> None:
    """Count a sweep of a batch: all its points, each with the class of the nearest one that the network saw."""
    decimated.add(batch.classes[sweep].cpu().numpy(), found)
    seen, wanted = (part[sweep].cpu().numpy() for part in (batch.points, batch.all_points))
    if len(wanted):
        every.add(batch.all_classes[sweep].cpu().numpy(), spread_labels(seen, found, wanted))
