"""Epochs as optimizer steps: what the sweeps of a split, batch size and ranks make of them."""

from __future__ import annotations

import math
from pathlib import Path

from cosmos_lidar.training.config import AnyConfig
from cosmos_lidar.training.data_facts import DataFact


def epoch_facts(
    run: AnyConfig, epochs: int, interval: int, sweeps: float, where: Path, warmup: float = 0.0
) -> dict[str, DataFact]:
    """Return ``trainer.max_steps``, ``trainer.val_every`` and the schedule for a number of sweeps per epoch.

    Args:
        run: the configuration: batch size, accumulation.
        epochs: of the training; 0 leaves ``trainer.max_steps`` as it is.
        interval: epochs between validations; 0 leaves ``trainer.val_every`` as it is.
        sweeps: of the training split.
        where: folder that holds them.
        warmup: epochs of warm-up, before a decay until the last step; 0 leaves the schedule as it is.
    """
    from cosmos_lidar.parallel.mesh import process_count  # imports torch

    samples = run.trainer.global_batch_size or run.data.batch_size * process_count() * run.trainer.accumulate
    steps = math.ceil(sweeps / samples)
    facts = {"trainer.max_steps": epochs * steps, "trainer.val_every": interval * steps}
    if warmup:
        facts |= {"optim.warmup_steps": round(warmup * steps), "optim.decay_until": epochs * steps}
    return {key: DataFact(value, where, suggested=True) for key, value in facts.items() if value}
