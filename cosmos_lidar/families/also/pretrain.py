"""ALSO pre-training as a NeMo model: losses of a batch over pairs of query and neighbor, and the validation."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from cosmos_lidar.families.also.config import AlsoTrainConfig
from cosmos_lidar.families.also.data import PretextBatch, ragged_fields
from cosmos_lidar.families.also.network import Prediction, PretextNetwork
from cosmos_lidar.families.also.samples import PretextCloud
from cosmos_lidar.families.also.sparse_model import SparseModel
from cosmos_lidar.losses.bev_contrast import BevGrid, BevRange, bev_contrast_loss, bev_means, with_occupancy
from cosmos_lidar.losses.cosine import cosine_loss
from cosmos_lidar.losses.occupancy import occupancy_loss, pair_counts
from cosmos_lidar.losses.occupancy_queries import Queries
from cosmos_lidar.metrics.iou import ConfusionMatrix
from cosmos_lidar.models.sparse.second import BEV_STRIDE
from cosmos_lidar.models.sparse.voxels import Voxels
from cosmos_lidar.parallel.exchange import gather_rows

_EXAMPLE = 32  # voxels


class Term(NamedTuple):
    """A term of the loss: a mean, and the number of rows (pairs, cells) that it is a mean over."""

    mean: Tensor
    rows: int


class PretrainModel(SparseModel):
    """Train a backbone to predict the occupancy of query points.

    Args:
        run: the resolved configuration.
        network: backbone and decoder; parameters appear as ``network.backbone.*`` and ``network.decoder.*``.
        folder: of the run.

    Losses are means over the pairs of all ranks together; batch norm has the statistics of the voxels of all ranks. The
    contrast of scans compares the cells of a rank with each other, or with those of all ranks.
    """

    def __init__(self, run: AlsoTrainConfig, network: PretextNetwork, folder: Path) -> None:
        super().__init__(run, network, folder)
        loss, contrast = run.model.loss, run.model.contrast
        self.term_weights = {"occupancy": loss.occupancy, "intensity": loss.intensity}
        if contrast.weight:
            self.term_weights["contrast"] = contrast.weight
        if run.model.distillation.weight:
            self.term_weights["distillation"] = run.model.distillation.weight
        self.columns = ("loss", *self.term_weights)
        self.val_columns = (*(f"val/{name}" for name in self.columns), "val/iou")

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
            **({"image_rows": _image_rows(batch)} if "distillation" in self.term_weights else {}),
        }

    def step(self, batch: PretextBatch) -> dict[str, Tensor]:
        """Return ``loss`` and its terms of one batch, this rank's share of the means of all ranks."""
        terms = self._terms(self.network(**self.inputs(batch)), batch)
        return self._with_loss({name: term.mean * self.share_of(term.rows) for name, term in terms.items()})

    def _terms(self, predicted: Prediction, batch: PretextBatch) -> dict[str, Term]:
        occupied, intensities = batch.occupied.values, batch.intensities.values
        means = occupancy_loss(predicted.values, predicted.pairs, occupied, intensities)
        queries = predicted.pairs.queries
        terms = {
            "occupancy": Term(means.occupancy, len(queries)),
            "intensity": Term(means.intensity, int((intensities[queries] >= 0).sum())),
        }
        if "contrast" in self.term_weights:
            terms["contrast"] = self._contrast(predicted.features, batch)
        if predicted.image is not None:
            terms["distillation"] = Term(*cosine_loss(predicted.image, batch.image_features.values))
        return terms

    def _contrast(self, features: Tensor, batch: PretextBatch) -> Term:
        model, config = self.run.model, self.run.model.contrast
        covered: BevRange | BevGrid
        if model.on_grid:
            maps = with_occupancy(features, batch.voxels, BEV_STRIDE)
            covered = BevRange.of_extent(model.spatial_extent)
        else:
            covered = BevGrid(config.half_extent, model.voxel_sizes[0], config.stride)
            maps = bev_means(batch.voxels, features, batch.lowest, covered)
        first_SE3_second = torch.linalg.inv(batch.poses[::2]) @ batch.poses[1::2]
        chosen = torch.Generator().manual_seed(batch.seeds[0])
        limits = (config.temperature, config.most_cells, chosen)
        group = dist.group.WORLD if config.gather and dist.is_initialized() else None
        gather = None if group is None else partial(gather_rows, group=group)
        return Term(*bev_contrast_loss(maps[::2], maps[1::2], first_SE3_second, covered, *limits, gather))

    def _with_loss(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        loss = torch.stack([self.term_weights[name] * value for name, value in terms.items()]).sum()
        return {"loss": loss, **terms}

    def example_batch(self, count: int) -> PretextBatch:
        """Return ``count`` sweeps, each a line of points."""
        cells = torch.arange(_EXAMPLE)[:, None].expand(_EXAMPLE, 3)
        points, rows = cells * self.run.model.voxel_sizes[-1], torch.arange(_EXAMPLE)
        voxels = Voxels(cells, torch.zeros(_EXAMPLE, self.run.model.channels), rows)
        queries = Queries(points, torch.zeros_like(rows), torch.zeros(_EXAMPLE, 1))
        seen = rows, torch.ones(_EXAMPLE, self.run.model.distillation.channels)
        cloud = PretextCloud(voxels, points, queries, cells[0], torch.eye(4, dtype=torch.float64), *seen)
        clouds = [cloud] * count * (2 if "contrast" in self.term_weights else 1)
        fields: dict[str, Any] = {"__key__": [""] * count, "__restore_key__": (), "clip_ids": [], "seeds": [0] * count}
        fields |= {
            "lowest": torch.zeros(len(clouds), 3, dtype=torch.int64),
            "poses": torch.stack([one.sensor_SE3_points for one in clouds]),
        }
        return PretextBatch(**fields, **ragged_fields(clouds))

    def validation_step(self, batch: PretextBatch, batch_idx: int) -> dict[str, Any]:
        """Return sums over one batch, to be pooled over batches and ranks by :meth:`pool_validation`."""
        predicted = self.network(**self.inputs(batch))
        confusion = pair_counts(predicted.values, predicted.pairs, batch.occupied.values)
        terms = self._terms(predicted, batch)
        sums = {name: (float(term.mean) * term.rows, term.rows) for name, term in terms.items()}
        return {"sums": sums, "confusion": confusion.tolist()}

    def pool_validation(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Return the ``val/`` values: means over all batches, and the mean IoU of occupied and free pairs."""
        matrix = ConfusionMatrix(2, ignore=None)
        for result in results:
            matrix.counts += result["confusion"]
        sums = {name: torch.tensor([result["sums"][name] for result in results]).sum(0) for name in self.term_weights}
        means = self._with_loss({name: total / count.clamp(min=1) for name, (total, count) in sums.items()})
        return {f"val/{name}": float(value) for name, value in means.items()} | {"val/iou": matrix.mean_iou()}


def _image_rows(batch: PretextBatch) -> Tensor:
    """Return (M,) the points that have image features, counted over all sweeps."""
    return batch.image_rows.values + batch.points.offsets[batch.image_rows.batch_index]
