"""A model family in one file, found without an edit elsewhere: a straight line is fitted to points."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

from cosmos_lidar.training.config import EmaConfig, OptimConfig, TrainConfig, TrainerConfig, refuse_below, setting
from cosmos_lidar.training.family import Family

if TYPE_CHECKING:
    import torch


@dataclass
class LineModelConfig:
    name: str = setting("line", "name of the network")
    kind: Literal["line", "curve"] = setting("line", "shape of the function")
    checkpoint: str = setting("", "weights to start from")
    ema: EmaConfig = field(default_factory=EmaConfig)


@dataclass
class LineDataConfig:
    path: str = setting("", "not used: points are synthetic")
    batch_size: int = setting(4, "points per step and rank")
    workers: int = setting(0, "reader processes")
    slope: float = setting(3.0, "of the line through the points")


@dataclass
class LineTrainConfig(TrainConfig[LineModelConfig, LineDataConfig]):
    family: str = setting("line", "file of recipes/ that this run belongs to")
    model: LineModelConfig = field(default_factory=LineModelConfig)
    data: LineDataConfig = field(default_factory=LineDataConfig)

    def check(self) -> None:
        super().check()
        refuse_below({"data.batch_size": (self.data.batch_size, 1)})


def debug() -> LineTrainConfig:
    trainer = TrainerConfig(max_steps=60, log_every=1, val_every=0, save_every=20, accelerator="cpu", export=False)
    return LineTrainConfig(recipe="debug", optim=OptimConfig(lr=0.1), trainer=trainer)


def make_job(run: LineTrainConfig, folder: Path, share: Any) -> Any:
    from cosmos_lidar.training.engine import Job

    batch, workers = run.data.batch_size, run.data.workers
    return Job(_model(run, folder), _Points(run, share.rank), None, batch, workers, "scratch", None)


def make_dry_model(run: LineTrainConfig) -> Any:
    return _model(run, Path())


def export_weights(weights: dict[str, Any], average: dict[str, Any], folder: Path, step: int) -> list[Path]:
    path = folder / f"line_{step}.txt"
    path.write_text(f"{float(weights['layer.weight']):.3f}")
    return [path]


class _Batch(SimpleNamespace):
    def to(self, device: Any) -> _Batch:
        return self


class _Points:
    """An endless loader whose state is the number of the next batch."""

    def __init__(self, run: LineTrainConfig, rank: int) -> None:
        self.run, self.rank, self.next = run, rank, 0

    def __iter__(self) -> Iterator[_Batch]:
        import torch

        while True:
            seed = self.run.trainer.seed + 1000 * self.rank + self.next
            self.next += 1
            x = torch.randn(self.run.data.batch_size, 1, generator=torch.Generator().manual_seed(seed))
            keys = [f"{seed}_{number}" for number in range(len(x))]
            yield _Batch(__key__=keys, clip_ids=keys, x=x, y=x * self.run.data.slope)

    def save_state_rank(self) -> dict[str, int]:
        return {"next": self.next}

    def restore_state_rank(self, state: dict[str, int]) -> None:
        self.next = state["next"]


def _model(run: LineTrainConfig, folder: Path) -> Any:
    import torch

    from cosmos_lidar.models.plan import ParallelPlan
    from cosmos_lidar.training.model import TrainedModel

    class Line(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)

        def parallel_plan(self) -> ParallelPlan:
            return ParallelPlan(blocks=("layer",))

    class LineModel(TrainedModel):
        def step(self, batch: Any) -> dict[str, torch.Tensor]:
            return {"loss": (self.network(batch.x) - batch.y).square().mean()}

        def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
            return batch

        def inputs(self, batch: Any) -> dict[str, Any]:
            return {"x": batch.x}

        def example_batch(self, count: int) -> _Batch:
            x = torch.zeros(count, 1)
            return _Batch(__key__=[""] * count, clip_ids=[], x=x, y=x)

        def items_per_sample(self) -> int:
            return 1

    return LineModel(run, Line(), folder)


FAMILY = Family(name="line", config=LineTrainConfig, job=__name__, recipes={"debug": debug})

if __name__ == "__main__":
    sys.exit(FAMILY.main())
