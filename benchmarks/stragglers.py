"""What the search for slow ranks costs: time of a training step with it over that without it.

    torchrun --standalone --nproc_per_node=2 benchmarks/stragglers.py [rounds]    # STEPS=60

Runs of both kinds alternate; each round gives a ratio of median step times, and the median of the ratios is printed.
The network is one of 3 M parameters with the latents of the debug recipe: steps of a fraction of a second on a CPU.
"""

from __future__ import annotations

import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback

from cosmos_lidar.parallel.mesh import process_rank
from cosmos_lidar.recipes import dit
from cosmos_lidar.training.model import TrainedModel
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.run_log import RunLog

STEPS = int(os.environ.get("STEPS", "60"))
OPTIONS = (
    f"trainer.max_steps={STEPS} trainer.val_every=0 trainer.val_at_start=false trainer.val_batches=1 "
    "trainer.save_every=0 trainer.export=false log.tensorboard=false trainer.log_every=50 model.name=faditv2_3m"
).split()


class StepTimes(Callback):
    """Note when each step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *values: Any) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())


def median_step(root: Path, name: str, measured: bool) -> float:
    """Return the median seconds of a step of a run, with or without the search for slow ranks."""
    times, blocks, look = StepTimes(), TrainedModel._measured_blocks, RunLog._look_for_stragglers
    if not measured:
        TrainedModel._measured_blocks = lambda self: []  # type: ignore[method-assign]
        RunLog._look_for_stragglers = lambda self, model: None  # type: ignore[method-assign]
    try:
        dit.train(apply_overrides(dit.debug(), [*OPTIONS, f"log.root={root}", f"log.name={name}"]), [times])
    finally:
        TrainedModel._measured_blocks, RunLog._look_for_stragglers = blocks, look  # type: ignore[method-assign]
    ends = times.ends[STEPS // 6 :]
    return statistics.median(after - before for before, after in zip(ends, ends[1:], strict=False))


def main() -> None:
    """Print the ratio."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    ratios = []
    folder = Path(
        tempfile.gettempdir(), f"stragglers_{os.environ.get('MASTER_PORT', '')}_{os.getppid()}"
    )  # of all ranks
    for number in range(rounds):
        pair = {measured: median_step(folder, f"{number}_{measured}", measured) for measured in (False, True)}
        ratios.append(pair[True] / pair[False])
    if process_rank() == 0:
        shutil.rmtree(folder, ignore_errors=True)
        each = ", ".join(f"{ratio:.4f}" for ratio in ratios)
        text = "step time with the search for slow ranks over that without"
        sys.stdout.write(f"{text}: median {statistics.median(ratios):.4f} ({each})\n")


if __name__ == "__main__":
    main()
