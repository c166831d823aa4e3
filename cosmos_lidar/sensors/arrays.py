"""One set of functions for numpy arrays and torch tensors; torch is imported only by callers that use it."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias, TypeVar, Union

import numpy as np

if TYPE_CHECKING:
    import torch
    from typing_extensions import TypeIs

Array: TypeAlias = Union[np.ndarray, "torch.Tensor"]
ArrayT = TypeVar("ArrayT", np.ndarray, "torch.Tensor")  # the same kind goes in and comes out


def is_tensor(value: object) -> TypeIs[torch.Tensor]:
    """Return whether ``value`` is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def namespace(value: Array) -> ModuleType:
    """Return the module, numpy or torch, whose functions work on ``value``."""
    return sys.modules["torch"] if is_tensor(value) else np


def float64(value: Array) -> Array:
    """Return ``value`` in float64, as array or tensor as it was, on its own device."""
    return value.double() if is_tensor(value) else np.asarray(value, np.float64)


def like(value: np.ndarray, template: Array) -> Array:
    """Return the numpy array as an array or tensor like ``template``, on its device."""
    return namespace(template).tensor(value, device=template.device) if is_tensor(template) else value
