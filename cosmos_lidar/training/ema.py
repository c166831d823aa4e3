"""EMA of the weights in fp32, sharded as they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from torch import nn

from cosmos_lidar.parallel.apply import reshard
from cosmos_lidar.parallel.clip import local_part
from cosmos_lidar.training.config import EmaConfig


def power_exponent(width: float) -> float:
    """Return gamma, the largest real root of x^3 + 7 x^2 + (16 - s^-2) x + (12 - s^-2), s = ``width``.

    A power-function average of that exponent is ``width`` wide, relative to the training so far (Karras et al. 2024,
    arXiv 2312.02696, appendix C.1).
    """
    roots = np.roots([1.0, 7.0, 16.0 - width**-2, 12.0 - width**-2])
    return float(roots[np.isreal(roots)].real.max())


def decay_at(config: EmaConfig, step: int) -> float:
    """Return the share of the old average kept at ``step`` (from 0).

    ``constant``: ``decay``. ``power``: (1 - 1 / (step + 1))^(gamma + 1), 0 at the first step.
    """
    if config.kind == "constant":
        return config.decay
    return (1.0 - 1.0 / (step + 1)) ** (power_exponent(config.width) + 1.0)


class Ema(Callback):
    """EMA of the parameters of ``model.network``: e = decay * e + (1 - decay) * p after each step.

    The EMA starts as a copy of the weights that training starts from, is kept in fp32 whatever the precision of the
    weights, sharded as they are, and is part of every checkpoint.

    Args:
        config: decay of the EMA.
        trained_only: leave out frozen parameters, whose EMA is their value.
    """

    def __init__(self, config: EmaConfig, trained_only: bool = False) -> None:
        self.config, self.trained_only = config, trained_only
        self.average: dict[str, torch.Tensor] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Take the first copy."""
        self.start(pl_module.network)

    def start(self, network: nn.Module) -> None:
        """Begin with a copy of the parameters of a network."""
        for name, parameter in network.named_parameters():
            if parameter.requires_grad or not self.trained_only:
                self.average[name] = parameter.detach().to(torch.float32, copy=True)

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the average toward the new weights."""
        averages, weights = [], []
        for name, parameter in pl_module.network.named_parameters():
            if name in self.average:
                averages.append(local_part(self.average[name]))
                weights.append(local_part(parameter.detach()).float())
        torch._foreach_lerp_(averages, weights, 1.0 - decay_at(self.config, trainer.global_step - 1))

    @contextmanager
    def swapped_in(self, network: nn.Module) -> Iterator[None]:
        """Let ``network`` have the averaged weights inside the ``with`` block, and its own again afterwards."""
        reshard(network)
        parameters = dict(network.named_parameters())
        own = {name: local_part(parameters[name].detach()).clone() for name in self.average}
        _copy_into(network, self.average)
        try:
            yield
        finally:
            reshard(network)
            _copy_into(network, own)


@torch.no_grad()
def _copy_into(network: nn.Module, values: dict[str, torch.Tensor]) -> None:
    parameters = dict(network.named_parameters())
    for name, value in values.items():
        local_part(parameters[name]).copy_(local_part(value))
