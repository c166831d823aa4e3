"""Floating-point operations of a training step, and what share of the device's peak they are.

Model FLOPs of one step are three times those of the forward pass (one for it, two for both gradients). A multiply-add
counts as two; matrix products, convolutions and attention are counted, each attention as full, not causal. What is
computed again to save memory does not count. MFU = model FLOPs per second and device / peak of the device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from cosmos_lidar.errors import UserError
from cosmos_lidar.training.measure.gpus import peak_bf16_tflops

Inputs = Sequence[Any] | Mapping[str, Any]


def forward_flops(network: nn.Module, inputs: Inputs) -> int:
    """Return the FLOPs of ``network(*inputs)`` or ``network(**inputs)``, computed on shapes alone.

    Args:
        network: before it is parallelized; its weights are not touched.
        inputs: with tensors on the ``meta`` device.
    """
    named = [*network.named_parameters(), *network.named_buffers()]
    weights = {name: torch.empty_like(tensor, device="meta") for name, tensor in named}
    args, kwargs = ((), dict(inputs)) if isinstance(inputs, Mapping) else (tuple(inputs), {})
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        functional_call(network, weights, args, kwargs)
    return counter.get_total_flops()


def training_flops(network: nn.Module, inputs: Inputs) -> int:
    """Return the model FLOPs of one training step on ``inputs``: three forward passes."""
    return 3 * forward_flops(network, inputs)


def count_training_flops(network: nn.Module, make_inputs: Callable[[], Inputs]) -> tuple[int | None, str]:
    """Return (FLOPs of a training step, ""), or (None, why they cannot be counted).

    Random numbers are as before.

    Raises:
        UserError: the network cannot take inputs of these sizes.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            return training_flops(network, make_inputs()), ""
    except UserError:
        raise
    except Exception as error:  # a forward pass on shapes alone fails in as many ways as there are networks
        return None, f"{type(error).__name__}: {error}".splitlines()[0][:200]


def on_meta(value: Any) -> Any:
    """Return ``value`` with its tensors on the ``meta`` device, floating-point ones as float32."""

    def move(tensor: Tensor) -> Tensor:
        return tensor.to("meta", torch.float32 if tensor.is_floating_point() else tensor.dtype)

    return tree_map_only(Tensor, move, value)


def peak_tflops(wanted: float, precision: str) -> float | None:
    """Return the peak of this machine's device, TFLOP/s: ``wanted`` if given, that of a known GPU in bf16, or None."""
    if wanted:
        return wanted
    if precision != "bf16" or not torch.cuda.is_available():
        return None
    return peak_bf16_tflops(torch.cuda.get_device_name())
