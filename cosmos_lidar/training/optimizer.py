"""AdamW over the trained parameters of a network, and its schedule of the learning rate."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from cosmos_lidar import kernels
from cosmos_lidar.training.config import OptimConfig
from cosmos_lidar.training.fused_adamw import FusedAdamW
from cosmos_lidar.training.schedule import lr_factor


def make_optimizer(
    network: nn.Module, config: OptimConfig
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """Return AdamW for the trained parameters of a network, and the schedule that follows its steps.

    The kernels' option ``optimizer=apex`` takes :class:`~cosmos_lidar.training.fused_adamw.FusedAdamW`.

    Raises:
        UserError: parameters of a type that the chosen optimizer does not take.
    """
    settings: dict[str, Any] = {"lr": config.lr, "betas": tuple(config.betas), "eps": config.eps}
    settings["weight_decay"] = config.weight_decay
    groups = parameter_groups(network, config.decay_biases)
    optimizer: torch.optim.Optimizer
    if kernels.current().optimizer == "apex":
        optimizer = FusedAdamW(groups, **settings)
    else:
        optimizer = torch.optim.AdamW(groups, fused=True, **settings)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(step, config))


def parameter_groups(network: nn.Module, decay_biases: bool) -> list[dict[str, Any]]:
    """Return the trained parameters; those whose name holds ``bias`` apart where they do not decay."""
    trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    if decay_biases:
        return [{"params": [p for _, p in trained]}]
    biases = [p for name, p in trained if "bias" in name]
    return [{"params": [p for name, p in trained if "bias" not in name]}, {"params": biases, "weight_decay": 0.0}]
