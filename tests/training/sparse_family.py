"""A small family with shapes that depend on data: points of varying number, gathered into the voxels that they fill.

``python sparse_family.py key=value …`` (or as ranks) trains it and prints a line ``RESULT FOLDER``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from megatron.energon import edataclass
from torch import Tensor, nn

from cosmos_lidar.models.deferred import build_deferred
from cosmos_lidar.models.plan import ParallelPlan
from cosmos_lidar.training.config import EmaConfig, LogConfig, OptimConfig, TrainConfig, TrainerConfig, setting
from cosmos_lidar.training.engine import DataShare, Job
from cosmos_lidar.training.family import Family
from cosmos_lidar.training.model import TrainedModel
from cosmos_lidar.training.overrides import apply_overrides
from energon_tasks.batches import DeviceBatch, Ragged


@edataclass
class PointBatch(DeviceBatch):
    """Points (x, y, z, intensity) of some sweeps."""

    points: Ragged
    clip_ids: list[str]


class VoxelNetwork(nn.Module):
    """Predicts the mean intensity of every voxel that holds a point, from its place and the means of its points."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Sequential(nn.Linear(6, width), nn.GELU()), nn.Linear(width, 1)

    def forward(self, points: Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
        """Return (prediction, target) of each voxel; points (N, 4) of samples ``sample`` (N,)."""
        cells = torch.cat([sample[:, None], (points[:, :3] * 2.0).floor().long()], dim=1)
        voxels, index, count = cells.unique(dim=0, return_inverse=True, return_counts=True)
        means = points.new_zeros(len(voxels), 4).index_add(0, index, points) / count[:, None]
        features = torch.cat([means[:, :3], voxels[:, 1:].to(points)], dim=1)
        return self.second(self.first(features))[:, 0], means[:, 3]

    def parallel_plan(self) -> ParallelPlan:
        """Return the plan: one unit, nothing to split."""
        return ParallelPlan(blocks=("first",))


class VoxelModel(TrainedModel):
    """Mean squared error over the voxels of all samples."""

    columns = ("loss", "error")
    val_columns = ("val/loss", "val/error")
    item_name = "voxels"

    def inputs(self, batch: PointBatch) -> dict[str, Any]:
        """Return points and the sample of each."""
        return {"points": batch.points.values, "sample": batch.points.batch_index}

    def step(self, batch: PointBatch) -> dict[str, Tensor]:
        """Return ``loss`` and ``error``."""
        found, wanted = self.network(**self.inputs(batch))
        difference = found - wanted
        return {"loss": difference.square().mean(), "error": difference.detach().abs().mean()}

    def items_of(self, batch: PointBatch) -> int:
        """Return the number of voxels."""
        cells = [(points[:, :3] * 2.0).floor().unique(dim=0) for points in batch.points]
        return sum(len(part) for part in cells)

    def loss_weight(self, batch: PointBatch) -> float:
        """Return the number of voxels, which the loss is a mean over."""
        return float(self.items_of(batch))

    def example_batch(self, count: int) -> PointBatch:
        """Return ``count`` sweeps of zeros."""
        return PointBatch(
            __key__=[""] * count, __restore_key__=(), points=Ragged.from_list([torch.zeros(5, 4)] * count), clip_ids=[]
        )


class PointLoader:
    """Endless sweeps of varying length, whose place can be saved; rank r of w reads samples r, r + w, …"""

    def __init__(self, batch_size: int, share: DataShare) -> None:
        self.batch_size, self.share, self.next = batch_size, share, 0

    def __iter__(self) -> Iterator[PointBatch]:
        while True:
            numbers = [(self.next + i) * self.share.world + self.share.rank for i in range(self.batch_size)]
            self.next += self.batch_size
            yield point_batch(numbers)

    def save_state_rank(self) -> dict[str, int]:
        """Return the number of samples that were read."""
        return {"next": self.next}

    def restore_state_rank(self, state: dict[str, int]) -> None:
        """Resume from there."""
        self.next = state["next"]


def point_batch(numbers: list[int]) -> PointBatch:
    """Return sweeps by their numbers, each of 3 to 40 points."""
    parts = []
    for number in numbers:
        generator = torch.Generator().manual_seed(number)
        length = int(torch.randint(3, 41, (1,), generator=generator))
        parts.append(torch.rand(length, 4, generator=generator) * torch.tensor([3.0, 3.0, 1.0, 1.0]))
    clips = [f"sweep_{number}" for number in numbers]
    return PointBatch(__key__=clips, __restore_key__=(), points=Ragged.from_list(parts), clip_ids=clips)


@dataclass
class VoxelModelConfig:
    """The network."""

    name: str = setting("voxels", "name")
    width: int = setting(16, "hidden width")
    ema: EmaConfig = field(default_factory=lambda: EmaConfig(enabled=True, decay=0.9))


@dataclass
class VoxelDataConfig:
    """The loader."""

    path: str = setting("", "unused")
    batch_size: int = setting(4, "sweeps per batch")
    workers: int = setting(0, "unused")


@dataclass
class VoxelRun(TrainConfig[VoxelModelConfig, VoxelDataConfig]):
    """A training run."""

    family: str = setting("voxels", "family")
    model: VoxelModelConfig = field(default_factory=VoxelModelConfig)
    data: VoxelDataConfig = field(default_factory=VoxelDataConfig)


def debug() -> VoxelRun:
    """Return six steps on the CPU; the large eps keeps Adam from magnifying rounding errors."""
    trainer = TrainerConfig(
        max_steps=6, log_every=1, val_every=3, val_at_start=False, save_every=0, accelerator="cpu", export=False
    )
    optim = OptimConfig(lr=1e-2, betas=[0.9, 0.99], eps=1e-3, warmup_steps=3, decay_until=12, clip_norm=0.5)
    return VoxelRun(recipe="debug", trainer=trainer, optim=optim, log=LogConfig(name="debug", tensorboard=False))


def make_job(run: VoxelRun, folder: Path, share: DataShare) -> Job:
    """Return network and data."""
    network, weights = build_deferred(lambda: VoxelNetwork(run.model.width))
    model = VoxelModel(run, network, folder)
    model.weights = weights
    val = [point_batch([1000 + number]) for number in range(share.rank, 3, share.world)]
    return Job(model, PointLoader(run.data.batch_size, share), val, run.data.batch_size, 0, "scratch", None)


def make_dry_model(run: VoxelRun) -> VoxelModel:
    """Return the model without weights."""
    return VoxelModel(run, VoxelNetwork(run.model.width), Path())


FAMILY = Family("voxels", {"debug": debug}, VoxelRun, "tests.training.sparse_family")


def main() -> None:
    """Train as the options say."""
    folder = FAMILY.train(apply_overrides(debug(), sys.argv[1:])).folder
    if os.environ.get("RANK", "0") == "0":
        sys.stdout.write(f"RESULT {folder}\n")


if __name__ == "__main__":
    main()
