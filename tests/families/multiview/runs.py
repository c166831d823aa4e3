"""Small runs of multi-view training, and shards of five cameras."""

from __future__ import annotations

from pathlib import Path

from cosmos_lidar.families.multiview.config import MultiviewTrainConfig
from cosmos_lidar.recipes import multiview
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.run_log import read_metrics

FEW = ["log.tensorboard=false", "trainer.val_every=0", "trainer.save_every=0", "trainer.val_at_start=false"]


def some_run(root: Path, name: str, *options: str) -> MultiviewTrainConfig:
    """Return the debug recipe with fewer validations and checkpoints."""
    return apply_overrides(multiview.debug(), [*FEW, f"log.root={root}", f"log.name={name}", *options])


def losses(folder: Path) -> list[tuple[str, str]]:
    """Return step and loss of each training step."""
    return [(row["step"], row["loss"]) for row in read_metrics(folder / "metrics.csv") if row["loss"]]
