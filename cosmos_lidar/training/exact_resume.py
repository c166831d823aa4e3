"""Going on exactly where a run stopped: the loader's position and all random numbers, of every rank."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from cosmos_lidar.errors import UserError
from cosmos_lidar.training.state_tree import from_plain, random_state, set_random_state, to_plain


class ExactResume(Callback):
    """Put the states of all ranks into each checkpoint and take one's own out again.

    Args:
        loader: Energon's savable training loader of this rank.
    """

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        self._random: object = None

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Gather the states (every rank calls this, rank 0 writes the file)."""
        own = {
            "loader": to_plain(self.loader.save_state_rank()),
            "random": random_state(with_cuda=trainer.strategy.root_device.type == "cuda"),
        }
        checkpoint["ranks"] = gather_objects(own, trainer)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Set the loader back to the sample after the last one that was trained on.

        Raises:
            UserError: the checkpoint was written by another number of processes.
        """
        ranks = checkpoint["ranks"]
        if len(ranks) != trainer.world_size:
            raise UserError(
                f"the checkpoint was written by {len(ranks)} processes, this run has {trainer.world_size}: start as "
                "many, or begin anew from its weights with model.checkpoint=…/iter_N.pt trainer.resume=none"
            )
        own = ranks[trainer.global_rank]
        self.loader.restore_state_rank(from_plain(own["loader"]))
        self._random = own["random"]

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Set the random numbers back, last of all: setting up and starting the loader draw some."""
        if self._random is not None:
            set_random_state(self._random)
            self._random = None


class Steps:
    """The training loader as a sized iterable.

    Lightning draws one batch ahead from loaders without a length; the state in a checkpoint would then be one batch
    further than the training.
    """

    def __init__(self, loader: Any, steps: int) -> None:
        self.loader, self.steps = loader, steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loader)


def gather_objects(own: Any, trainer: Trainer) -> list[Any]:
    """Return ``own`` of every rank, in rank order, on every rank."""
    if trainer.world_size == 1:
        return [own]
    everyone: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(everyone, own)
    return everyone
