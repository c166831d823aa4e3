"""Numpy arrays and torch tensors through one set of functions, without importing torch for those who use none."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np

if TYPE_CHECKING:
    import torch
    from typing_extensions import TypeIs

Array: TypeAlias = Union[np.ndarray, "torch.Tensor"]


def is_tensor(value: object) -> TypeIs[torch.Tensor]:
    """Tell whether ``value`` is a torch tensor (nobody has one who never imported torch)."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def namespace(value: Array) -> ModuleType:
    """Return the module, numpy or torch, whose functions work on ``value``."""
    return sys.modules["torch"] if is_tensor(value) else np


def float64(value: Array) -> Array:
    """Return ``value`` in float64, of its own kind and on its own device."""
    return value.double() if is_tensor(value) else np.asarray(value, np.float64)


def like(value: np.ndarray, template: Array) -> Array:
    """Return the numpy array as whatever ``template`` is, on the same device."""
    return namespace(template).tensor(value, device=template.device) if is_tensor(template) else value
