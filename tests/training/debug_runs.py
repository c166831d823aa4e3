from __future__ import annotations

from pathlib import Path
from typing import Any

from cosmos_lidar.recipes import dit
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.run_log import read_metrics

FEW = (
    "trainer.max_steps=8 trainer.val_every=0 trainer.val_at_start=false trainer.val_batches=1 trainer.save_every=0 "
    "trainer.export=false log.tensorboard=false"
).split()


def small(root: Path, *options: str) -> Any:
    return apply_overrides(dit.debug(), [*FEW, f"log.root={root}", *options])


def losses(folder: str | Path) -> list[tuple[str, str]]:
    return [(row["step"], row["loss"]) for row in read_metrics(Path(folder) / "metrics.csv") if row["loss"]]
