"""Where the numbers of a run go: ``metrics.csv`` always, the loggers that are switched on, the progress bar."""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from cosmos_lidar.progress import Meter
from cosmos_lidar.training.exact_resume import gather_objects
from cosmos_lidar.training.files import write_whole

COLUMNS = (
    "step", "loss", "color", "perceptual", "lr", "grad_norm", "samples/s",
    "val/loss", "val/color", "val/perceptual", "val/psnr", "val/ssim", "val/rmse_m", "val/mae_m", "val/relative",
)  # fmt: skip


class RunLog(Callback):
    """Write one row of ``metrics.csv`` every so many steps and one per validation; feed the loggers the same numbers.

    A training row holds the values of that very step, averaged over ranks; samples/s is that of all ranks since the
    last row.

    Args:
        path: the csv file.
        every: steps between training rows.
        batch_size: samples per step and rank.
    """

    def __init__(self, path: Path, every: int, batch_size: int) -> None:
        self.path, self.every, self.batch_size = path, every, batch_size
        self._meter: Meter | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock; on resume drop the rows of steps that will be run again."""
        self._since, self._since_step = time.monotonic(), trainer.global_step
        if not trainer.is_global_zero:
            return
        self._start_file(trainer.global_step)
        self._meter = Meter("train", "steps", trainer.max_steps - trainer.global_step).__enter__()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a training row when it is time."""
        step = trainer.global_step
        values = pl_module.step_values
        if step % self.every == 0 or step == trainer.max_steps:
            values = _mean_over_ranks(values, trainer)
            now = time.monotonic()
            done = (step - self._since_step) * self.batch_size * trainer.world_size
            values["samples/s"] = done / max(now - self._since, 1e-9)
            self._since, self._since_step = now, step
            self.write(trainer, step, values)
        if self._meter is not None:
            self._meter.advance(1, f"loss {float(values['loss']):.4f}")

    def write(self, trainer: Trainer, step: int, values: dict[str, float]) -> None:
        """Append a row (rank 0 only) and hand the same values to every logger."""
        if not trainer.is_global_zero:
            return
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            csv.DictWriter(stream, COLUMNS, restval="").writerow({"step": step, **values})
        for target in trainer.loggers:
            target.log_metrics(values, step=step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the progress bar."""
        self._close(None)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the progress bar before the error is shown."""
        self._close(exception)

    def _close(self, error: BaseException | None) -> None:
        if self._meter is not None:
            self._meter.__exit__(type(error) if error else None, error, None)
            self._meter = None

    def _start_file(self, step: int) -> None:
        rows = read_metrics(self.path) if step and self.path.exists() else []
        kept = [row for row in rows if int(row["step"]) <= step]

        def write(partial: Path) -> None:
            with partial.open("w", newline="", encoding="utf-8") as stream:
                writer = csv.DictWriter(stream, COLUMNS, restval="", extrasaction="ignore")
                writer.writeheader()
                writer.writerows(kept)

        write_whole(self.path, write)


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Return the rows of a ``metrics.csv``; a value that a row does not have is an empty text."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [row for row in csv.DictReader(stream) if (row.get("step") or "").isdigit()]


def _mean_over_ranks(values: dict[str, Any], trainer: Trainer) -> dict[str, float]:
    own = {name: float(value) for name, value in values.items()}
    everyone = gather_objects(own, trainer)
    return {name: sum(rank[name] for rank in everyone) / len(everyone) for name in own}

