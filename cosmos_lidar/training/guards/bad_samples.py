"""The budget of unusable samples, over all ranks: they stop together, and say what cannot be used."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, Trainer

from cosmos_lidar.parallel.ranks import gather_objects
from cosmos_lidar.training.guards.step_flags import StepFlags


class BadSamples(Callback):
    """End the run on all ranks when the unusable samples of all of them are more than the budget allows.

    Each rank reads another share of the data, and may hold all damaged samples of it: one rank alone cannot tell.

    Args:
        report: of the training loader: ``bad``, ``exceeded(bad)`` and ``stop_error(bad)``, see
            :class:`energon_tasks.skips.SkipReport`.
        flags: of the model.
        same_data: ranks that read the same samples.
    """

    def __init__(self, report: Any, flags: StepFlags, same_data: int) -> None:
        self.report, self.flags, self.same_data = report, flags, same_data

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Tell the other ranks how many samples of this one could not be used so far."""
        self.flags.own["bad_samples"] = float(self.report.bad)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Stop where there are too many.

        Raises:
            DataError: on all ranks, the same.
        """
        everyone = self.flags.ranks["bad_samples"]
        total = round(sum(everyone) / self.same_data)
        if self.report.exceeded(total):
            worst = everyone.index(max(everyone))
            raise gather_objects(self.report.stop_error(total))[worst]
