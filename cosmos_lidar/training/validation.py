"""Validation inside training: before the first step, every so many steps, and after the last."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, Trainer

from cosmos_lidar.errors import DataError
from cosmos_lidar.log import logger
from cosmos_lidar.parallel.apply import reshard
from cosmos_lidar.parallel.ranks import broadcast_missing, gather_objects
from cosmos_lidar.training.checkpoint.state_tree import random_state, set_random_state
from cosmos_lidar.training.ema import Ema
from cosmos_lidar.training.run_log import RunLog

if TYPE_CHECKING:
    from cosmos_lidar.training.model import TrainedModel


class Validate(Callback):
    """Run ``model.validation_step`` over the validation loader and write the pooled result as a row of the log.

    The loader restarts at its first batch each time, so that all validations of a run see the same frames. Random
    numbers are put back afterwards: validating more or less often does not change the training.

    Args:
        loader: yields batches of the validation split.
        every: steps between validations; 0 for the last step only.
        at_start: validate before the first step of a fresh run, too.
        run_log: where the result is written.
        ema: when given, the averaged weights are validated instead of the raw ones.
    """

    def __init__(self, loader: Any, every: int, at_start: bool, run_log: RunLog, ema: Ema | None) -> None:
        self.loader, self.every, self.at_start = loader, every, at_start
        self.run_log, self.ema = run_log, ema

    def on_train_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Validate what training starts from."""
        if self.at_start and trainer.global_step == 0:
            self.run(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Validate when it is time."""
        step = trainer.global_step
        if step >= trainer.max_steps or (self.every and step % self.every == 0):
            self.run(trainer, pl_module)

    def run(self, trainer: Trainer, model: TrainedModel) -> None:
        """Validate now.

        Raises:
            DataError: the split has no batch for this rank.
        """
        before = random_state(with_cuda=model.device.type == "cuda")
        weights = self.ema.swapped_in(model.network) if self.ema else nullcontext()
        model.eval()
        with model.clock.long_work(), weights, torch.no_grad():
            results = self._results(trainer, model)
        reshard(model.network)
        model.train()
        set_random_state(before)
        everyone = [result for rank in gather_objects(results) for result in rank]
        if not everyone:
            raise DataError("the validation split yields no batch", key="data.val_split", wanted="a split with frames")
        values = model.pool_validation(everyone)
        self.run_log.last_validation = values
        self.run_log.write(trainer, trainer.global_step, values)
        model.clock.lap(None)
        if trainer.is_global_zero:
            shown = ", ".join(f"{name[4:]} {value:.4g}" for name, value in values.items())
            logger.info("validation after step %d: %s", trainer.global_step, shown)

    def _results(self, trainer: Trainer, model: TrainedModel) -> list[dict[str, Any]]:
        """Return those of this rank's batches.

        Sharded weights are gathered by all ranks together: one that runs out of batches repeats another rank's
        until the others run out too, and discards the results.
        """
        results, batches, index = [], iter(self.loader), 0
        while (batch := broadcast_missing(own := next(batches, None))) is not None:
            result = self._step(trainer, model, batch, index)
            if own is not None:
                results.append(result)
            model.clock.lap(None)  # the run is alive
            index += 1
        return results

    @staticmethod
    def _step(trainer: Trainer, model: TrainedModel, batch: Any, index: int) -> dict[str, Any]:
        batch = trainer.strategy.batch_to_device(batch, dataloader_idx=0)
        return model.validation_step(batch, index)


def pooled_means(results: list[dict[str, Any]], names: Iterable[str]) -> dict[str, float]:
    """Return ``val/NAME`` of sums over batches that have a ``count`` each: all sums over all counts."""
    count = sum(result["count"] for result in results)
    return {f"val/{name}": sum(result[name] for result in results) / count for name in names}
