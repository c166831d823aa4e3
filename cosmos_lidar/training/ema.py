"""A running average of the weights in fp32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn


class Ema(Callback):
    """Keep e = decay * e + (1 - decay) * p of every trained parameter of ``model.network`` after each step.

    The average starts as a copy of the weights that training starts from, is kept in fp32 whatever the precision of the
    weights, and is part of every checkpoint.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: dict[str, torch.Tensor] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the first copy, unless a checkpoint brought one; move it to the device of the weights."""
        for name, parameter in pl_module.network.named_parameters():
            start = self.average.get(name, parameter.detach())
            self.average[name] = start.to(parameter.device, torch.float32, copy=True)

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the average towards the new weights."""
        averages, weights = [], []
        for name, parameter in pl_module.network.named_parameters():
            averages.append(self.average[name])
            weights.append(parameter.detach().float())
        torch._foreach_lerp_(averages, weights, 1.0 - self.decay)

    def state_dict(self) -> dict[str, Any]:
        """Return the average, for the checkpoint."""
        return {"average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the average of a checkpoint."""
        self.average = dict(state_dict["average"])

    @contextmanager
    def swapped_in(self, network: nn.Module) -> Iterator[None]:
        """Let ``network`` have the averaged weights inside the ``with`` block, and its own again afterwards."""
        own = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
        _copy_into(network, self.average)
        try:
            yield
        finally:
            _copy_into(network, own)


@torch.no_grad()
def _copy_into(network: nn.Module, values: dict[str, torch.Tensor]) -> None:
    for name, parameter in network.named_parameters():
        parameter.copy_(values[name])
