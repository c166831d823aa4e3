"""Loaders of shards of points for sparse backbones, and what their batches have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cosmos_lidar.shards.points import SAMPLE_TYPE, read_points_facts
from cosmos_lidar.shards.sources import resolve
from cosmos_lidar.training.engine import DataShare
from energon_tasks.batches import Ragged
from energon_tasks.loader import CheckedLoader
from energon_tasks.points import PointsTaskEncoder
from energon_tasks.skips import SkipReport
from energon_tasks.splits import open_split

# (seed of the random choices, training, counts of samples read and skipped) -> task encoder
MakeEncoder = Callable[[int, bool, SkipReport], PointsTaskEncoder]


class VoxelRows:
    """Voxels of all sweeps of a batch together, from those that each sweep counts for itself."""

    coords: Ragged
    points: Ragged
    voxel_of_point: Ragged

    @property
    def voxels(self) -> Tensor:
        """(V, 4) sweep, x, y, z of all voxels."""
        return torch.cat([self.coords.batch_index[:, None], self.coords.values], dim=1)

    @property
    def voxel_rows(self) -> Tensor:
        """(N,) row of each point's voxel among those of all sweeps; -1 for none."""
        first = self.coords.offsets[self.points.batch_index]
        rows = self.voxel_of_point.values
        return torch.where(rows < 0, rows, rows + first)


def open_loaders(
    run: Any, paths: tuple[str | Path, str | Path], share: DataShare, values: Sequence[str], make_encoder: MakeEncoder
) -> tuple[CheckedLoader, CheckedLoader]:
    """Return the loaders of training and validation.

    Args:
        run: the configuration.
        paths: shards of points to train on, and to validate on.
        share: of this rank.
        values: that the points must have.
        make_encoder: task encoder of a split.

    Raises:
        DataError: no shards there, damaged ones, or an empty split.
        UserError: points without one of the values.
    """
    data, seed = run.data, run.trainer.seed
    common: dict[str, Any] = {"batch_size": data.batch_size, "rank": share.rank, "world_size": share.world}
    common |= {"bad_sample_budget": data.bad_sample_budget}
    reading: dict[str, Any] = {"num_workers": data.workers, "shuffle_buffer": data.shuffle}

    def open_one(path: str | Path, split: str, training: bool, seed: int, **options: Any) -> CheckedLoader:
        sources = resolve(path, split, data.trust_sample_loaders)
        read_points_facts(sources, values)

        def encoder(report: SkipReport) -> PointsTaskEncoder:
            return make_encoder(seed, training, report)

        return open_split(sources, SAMPLE_TYPE, encoder, training=training, seed=seed, **options, **common)

    train = open_one(paths[0], data.train_split, True, share.seed, **reading)
    return train, open_one(paths[1], data.val_split, False, seed, limit=run.trainer.val_batches or None)
