"""Apex's fused norms and its AdamW kernel; importing this module needs apex, built with its CUDA extensions."""

from __future__ import annotations

import amp_C
import torch
from apex.multi_tensor_apply import multi_tensor_applier
from apex.normalization.fused_layer_norm import fused_layer_norm, fused_rms_norm_affine
from torch import Tensor

_DECOUPLED, _CORRECTED = 1, 1  # weight decay as in AdamW; moments corrected for their start at zero


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """As :func:`cosmos_lidar.kernels.rms_norm`, for x and weight of one type."""
    return fused_rms_norm_affine(x, weight, weight.shape, eps)


def layer_norm(x: Tensor, eps: float) -> Tensor:
    """As :func:`cosmos_lidar.kernels.layer_norm`."""
    return fused_layer_norm(x, x.shape[-1:], eps)


def adamw(
    tensors: tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]],
    step: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> None:
    """Update parameters and moments of AdamW in place, all tensors in a few kernels.

    Args:
        tensors: gradients, parameters, first and second moments; each list of one type, on one device.
        step: number of this update, from 1.
        lr: learning rate.
        betas: decay of the moments.
        eps: added to the root of the second moment.
        weight_decay: decoupled.
    """
    flag = torch.zeros(1, dtype=torch.int32, device=tensors[0][0].device)  # that the kernel sets on overflow
    numbers = lr, *betas, eps, step, _DECOUPLED, _CORRECTED, weight_decay
    multi_tensor_applier(amp_C.multi_tensor_adam, flag, list(tensors), *numbers)
