"""A run folder that another run has taken over: all ranks stop before they write to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from cosmos_lidar.errors import UserError
from cosmos_lidar.training.guards.step_flags import StepFlags


class OwnerWatch(Callback):
    """End the run on all ranks after the step in which rank 0 found its folder taken over.

    Args:
        flags: of the model; they carry it to the other ranks.
        taken_over: returns, on rank 0, which run has the folder now; empty as long as it is this one.
    """

    def __init__(self, flags: StepFlags, taken_over: Callable[[], str]) -> None:
        self.flags, self.taken_over = flags, taken_over

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Look, before the flags are exchanged."""
        self.flags.own["taken_over"] = float(bool(self.taken_over()))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop.

        Raises:
            UserError: on every rank; on rank 0 it names the other run.
        """
        if self.flags.max_over_ranks("taken_over"):
            other = self.taken_over() or "another run"
            raise UserError(f"step {trainer.global_step}: the run folder was taken over by {other}; nothing was saved")
