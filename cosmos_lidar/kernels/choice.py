"""Choice of the backend of each operation, from what is installed and the configuration."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.log import logger

CHOICES = {
    "attention": ("torch", "cudnn", "te"),
    "norm": ("torch", "triton", "apex"),
    "modulation": ("torch", "triton"),
    "rotary": ("torch", "triton"),
    "linear": ("torch", "te"),
    "optimizer": ("torch", "apex"),
}
_NO_WISH = ("auto", "", None)


@dataclass(frozen=True)
class Backends:
    """The implementation of each operation.

    Attributes:
        attention: ``torch`` (PyTorch picks its kernel), ``cudnn`` (PyTorch, cuDNN before flash), ``te``.
        norm: RMS and layer norm: ``torch``, ``triton``, ``apex``.
        modulation: adaptive layer norm: ``torch``, ``triton``.
        rotary: rotary positions: ``torch``, ``triton``; fused with the norm before it where that is ``triton`` too.
        linear: ``torch``, ``te`` (TransformerEngine, FP8; see :func:`cosmos_lidar.kernels.replace_linears`).
        optimizer: update of AdamW: ``torch`` (its own fused kernel), ``apex``.
    """

    attention: str = "torch"
    norm: str = "torch"
    modulation: str = "torch"
    rotary: str = "torch"
    linear: str = "torch"
    optimizer: str = "torch"


def choose(device: str | torch.device, wishes: Mapping[str, str] | None = None) -> Backends:
    """Return the backends for a device and log them in one line.

    By default attention takes TransformerEngine where it imports and the device is CUDA, all else is torch: under
    ``torch.compile`` the torch formulas are fused by the compiler, and the Triton kernels have not been measured
    against that. After ``python benchmarks/kernels.py --device cuda`` on the machine in question, choose the fastest.

    Args:
        device: that the networks run on.
        wishes: operation -> backend, such as ``{"norm": "triton"}``; ``auto`` or nothing leaves the default.

    Raises:
        UserError: an unknown operation or backend, or one that cannot run here, with the reason.
    """
    device = torch.device(device)
    wishes = {operation: backend for operation, backend in (wishes or {}).items() if backend not in _NO_WISH}
    for operation, backend in wishes.items():
        _check(operation, backend, device)
    te_obstacle = obstacle("te", device)
    default = Backends() if te_obstacle else Backends(attention="te")
    chosen = replace(default, **wishes)
    named = " ".join(f"{operation}={backend}" for operation, backend in asdict(chosen).items())
    logger.info("kernels on %s: %s%s", device.type, named, f" (no te: {te_obstacle})" if te_obstacle else "")
    return chosen


def obstacle(backend: str, device: torch.device) -> str:
    """Return why a backend cannot run on a device; empty where it can.

    Triton's interpreter, switched on by ``TRITON_INTERPRET=1`` in the environment, runs on the CPU; it is for tests.
    """
    if backend == "torch":
        return ""
    interpreted = backend == "triton" and os.environ.get("TRITON_INTERPRET") == "1"
    if device.type != "cuda" and not interpreted:
        return f"{device.type} is no CUDA device"
    if device.type == "cuda" and not torch.cuda.is_available():
        return "no CUDA device"
    if backend == "te":
        return _import_obstacle("transformer_engine.pytorch")
    if backend == "apex":  # a build without its CUDA extensions has the first two, but not the others
        names = ("apex.multi_tensor_apply", "apex.normalization", "amp_C", "fused_layer_norm_cuda")
        return next(filter(None, map(_import_obstacle, names)), "")
    return _import_obstacle("triton") if backend == "triton" else ""


def _check(operation: str, backend: str, device: torch.device) -> None:
    if operation not in CHOICES:
        raise UserError(f"unknown operation kernels.{operation}; valid: {', '.join(CHOICES)}")
    if backend not in CHOICES[operation]:
        raise UserError(f"kernels.{operation}={backend}; valid: {', '.join(CHOICES[operation])}")
    if problem := obstacle(backend, device):
        raise UserError(f"kernels.{operation}={backend}: {problem}; leave it out or set kernels.{operation}=torch")


def _import_obstacle(module: str) -> str:
    try:
        importlib.import_module(module)
    except ImportError as error:
        return f"{module.partition('.')[0]} is not installed" if error.name else f"{module} does not import: {error}"
    # TransformerEngine without its compiled half, or without a driver, raises RuntimeError, OSError and others.
    except Exception as error:
        return f"{module} does not import: {str(error).partition(chr(10))[0]}"
    return ""
