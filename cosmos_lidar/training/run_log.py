"""Where the numbers of a run go: ``metrics.csv`` always, the loggers that are switched on, the progress bar."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, Trainer

from cosmos_lidar.log import warn_once_a_minute
from cosmos_lidar.parallel.ranks import gather_objects, is_first
from cosmos_lidar.progress import Meter
from cosmos_lidar.training.guards.trackers import guard_trackers, hand_over
from cosmos_lidar.training.measure.step_clock import PARTS
from cosmos_lidar.training.measure.stragglers import COLUMNS, Stragglers
from cosmos_lidar.training.metrics_file import MetricsFile, read_metrics

if TYPE_CHECKING:
    from cosmos_lidar.training.model import TrainedModel

__all__ = ["RunLog", "StepSize", "read_metrics", "speed_columns"]


@dataclass(frozen=True)
class StepSize:
    """What one optimizer step of the whole run is made of.

    Attributes:
        samples: of all ranks together.
        items: tokens, voxels or points of all samples together; None where they are counted batch by batch.
        flops: model FLOPs of all ranks together, see :mod:`cosmos_lidar.training.measure.flops`; None if unknown.
        ranks: that share these.
        peak_tflops: of one device; None where it is not known.
        item_name: what the items are.
        same_data: ranks that train on the same batches (context and tensor parallel).
    """

    samples: int
    items: int | None
    flops: int | None
    ranks: int
    peak_tflops: float | None
    item_name: str = "tokens"
    same_data: int = 1


class RunLog(Callback):
    """Write one row of ``metrics.csv`` every so many steps and one per validation; feed the loggers the same numbers.

    A training row holds the values of that very step, averaged over ranks; speeds are means since the last row:
    ``tflops`` and ``mfu`` per device, ``memory_gb`` the peak of the process that needs most (device memory; resident
    memory on a CPU), times in seconds per step (:class:`~cosmos_lidar.training.measure.step_clock.StepClock`, rank 0).
    ``slow_rank`` and ``slow_ratio`` are of the last window of :mod:`~cosmos_lidar.training.measure.stragglers`.

    Args:
        path: the csv file.
        every: steps between training rows.
        columns: names of the model's own values, in order.
        val_columns: those of its validation.
        size: of a step.
    """

    def __init__(
        self, path: Path, every: int, columns: tuple[str, ...], val_columns: tuple[str, ...], size: StepSize
    ) -> None:
        self.every, self.size = every, size
        self.columns = ("step", *columns, "lr", "grad_norm", *speed_columns(size.item_name), *val_columns)
        self.file = MetricsFile(path, self.columns)
        self.last_validation: dict[str, float] = {}
        self._meter: Meter | None = None
        self._items_before = 0
        self._stragglers = Stragglers()
        self._hosts: list[str] = []

    def setup(self, trainer: Trainer, pl_module: Any, stage: str) -> None:
        """Let no tracker end the run."""
        guard_trackers(trainer.loggers)

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Start the clock; on resume drop the rows of steps that will be run again."""
        self._begin(trainer)
        self._hosts = gather_objects(os.uname().nodename)
        self._step_ended = time.monotonic()
        self._new_items(pl_module)
        pl_module.clock.read()
        if not trainer.is_global_zero:
            return
        self.drop_after(trainer.global_step)
        self._meter = Meter("train", "steps", trainer.max_steps - trainer.global_step).__enter__()

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Note that the batch is there."""
        pl_module.clock.lap("data_s")

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Write a training row when it is time."""
        pl_module.clock.lap("optimizer_s")
        pl_module.clock.steps += 1
        self._look_for_stragglers(pl_module)
        step, values = trainer.global_step, pl_module.step_values
        if step % self.every == 0 or step == trainer.max_steps:
            own = {name: float(value) for name, value in values.items()} | _memory(pl_module)
            ranks = gather_objects(own | {"items": self._new_items(pl_module)})
            means = {name: sum(rank[name] for rank in ranks) / len(ranks) for name in values}
            means["memory_gb"] = max(rank["memory_gb"] for rank in ranks)
            items = sum(rank["items"] for rank in ranks) / self.size.same_data
            speeds = self._speeds(trainer, items) | self._stragglers.values()
            self.write(trainer, step, means | speeds | pl_module.clock.read())
        if self._meter is not None:
            self._meter.advance(1, f"loss {float(values['loss']):.4f}")

    def _look_for_stragglers(self, model: TrainedModel) -> None:
        before, self._step_ended = self._step_ended, time.monotonic()
        if len(self._hosts) == 1:
            return
        verdict = self._stragglers.add(model.flags.ranks["own_s"], self._step_ended - before)
        if verdict is None or not is_first():
            return
        for rank in verdict.slow[:3]:
            text = "rank %d (%s) is slow: its own work takes %.2f times as long as the median of all ranks"
            warn_once_a_minute(f"slow rank {rank}", text, rank, self._hosts[rank], verdict.ratios[rank])

    def write(self, trainer: Trainer, step: int, values: dict[str, float]) -> None:
        """Append a row (rank 0 only) and hand the same values to every logger."""
        if not trainer.is_global_zero:
            return
        self.file.append({"step": step, **values})
        for tracker in trainer.loggers:
            hand_over(tracker, values, step)

    def drop_after(self, step: int) -> None:
        """Start the file, keeping the rows up to ``step`` of an earlier one (rank 0 only)."""
        self.file.drop_after(step)

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Close the progress bar."""
        self._close(None)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Close the progress bar before the error is shown."""
        self._close(exception)

    def _begin(self, trainer: Trainer) -> None:
        self._since, self._since_step = time.monotonic(), trainer.global_step

    def _new_items(self, model: TrainedModel) -> int:
        """Items of the batches since the last call, on this rank."""
        new = model.items_seen - self._items_before
        self._items_before = model.items_seen
        return new

    def _speeds(self, trainer: Trainer, items: float) -> dict[str, float]:
        seconds = max(time.monotonic() - self._since, 1e-9)
        rate = (trainer.global_step - self._since_step) / seconds
        self._begin(trainer)
        size = self.size
        item_rate = items / seconds if size.items is None else rate * size.items
        speeds = {"samples/s": rate * size.samples, f"{size.item_name}/s": item_rate}
        if size.flops is not None:
            speeds["tflops"] = rate * size.flops / size.ranks / 1e12
            if size.peak_tflops:
                speeds["mfu"] = speeds["tflops"] / size.peak_tflops
        return speeds

    def _close(self, error: BaseException | None) -> None:
        if self._meter is not None:
            self._meter.__exit__(type(error) if error else None, error, None)
            self._meter = None


def speed_columns(item_name: str) -> tuple[str, ...]:
    """Return the columns that are measured: rates, memory, seconds per step, stragglers."""
    return ("samples/s", f"{item_name}/s", "tflops", "mfu", "memory_gb", *PARTS, *COLUMNS)


def _memory(model: TrainedModel) -> dict[str, float]:
    if model.device.type == "cuda":
        return {"memory_gb": torch.cuda.max_memory_allocated(model.device) / 1e9}
    return {"memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9}
