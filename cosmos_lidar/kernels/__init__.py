"""Backend dispatch of attention, norms, adaptive layer norm, rotary positions and linear layers.

Networks call these functions; the backend of each is set once, at the start of a program::

    kernels.use(kernels.choose("cuda", {"modulation": "triton"}))

Plain torch runs until then, and wherever a backend does not support the tensors (float64, DTensor).
All functions are differentiable once.
"""

from __future__ import annotations

from collections.abc import Collection
from types import ModuleType

import torch
from torch import Tensor, nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.kernels import torch_ops
from cosmos_lidar.kernels.choice import CHOICES, Backends, choose, obstacle

__all__ = [
    "CHOICES", "Backends", "attention", "choose", "current", "gated_add", "is_plain", "layer_norm", "modulated_norm",
    "obstacle", "qk_norm_rotate", "replace_linears", "rms_norm", "rotate", "use",
]  # fmt: skip

_TRITON_DTYPES = (torch.float32, torch.bfloat16, torch.float16)

_backends = Backends()
# Imported only when chosen: the packages are optional.
_triton_ops: ModuleType | None = None
_te_ops: ModuleType | None = None
_apex_ops: ModuleType | None = None


def use(backends: Backends) -> None:
    """Set the backends of this process; call it before anything is compiled."""
    global _backends, _triton_ops, _te_ops, _apex_ops
    wanted = {backends.attention, backends.norm, backends.modulation, backends.rotary, backends.linear}
    if "triton" in wanted:
        from cosmos_lidar.kernels import triton_ops as _triton_ops
    if "te" in wanted:
        from cosmos_lidar.kernels import te_ops as _te_ops
    if backends.norm == "apex":
        from cosmos_lidar.kernels import apex_ops as _apex_ops
    _backends = backends


def current() -> Backends:
    """Return the backends in use."""
    return _backends


def is_plain(*tensors: Tensor) -> bool:
    """Whether all are ordinary tensors or parameters, not DTensors or other wrappers that kernels cannot read."""
    return all(type(tensor) in (Tensor, nn.Parameter) for tensor in tensors)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return softmax(q k^T / sqrt(D)) v per head, not causal.

    Args:
        q: (B, L, heads, D).
        k: (B, M, heads, D).
        v: (B, M, heads, D).

    Returns:
        (B, L, heads, D).
    """
    if is_plain(q, k, v) and q.is_cuda:
        if _backends.attention == "te" and q.dtype in (torch.bfloat16, torch.float16):
            return _te_ops.attention(q, k, v)
        if _backends.attention == "cudnn":
            return torch_ops.cudnn_attention(q, k, v)
    return torch_ops.attention(q, k, v)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Return x / sqrt(mean(x^2) + eps) * weight over the last dimension.

    Args:
        x: (..., C).
        weight: (C,).
        eps: added to the mean square.

    Returns:
        (..., C) in the type of x.
    """
    if _backends.norm == "triton" and _fits_triton(x, weight):
        return _triton_ops.rms_norm(x, weight, eps)
    if _backends.norm == "apex" and _fits_apex(x, weight):
        return _apex_ops.rms_norm(x, weight, eps)
    return torch_ops.rms_norm(x, weight, eps)


def layer_norm(x: Tensor, eps: float) -> Tensor:
    """Return (x - mean) / sqrt(variance + eps) over the last dimension of x (..., C), without weights."""
    if _backends.norm == "triton" and _fits_triton(x):
        return _triton_ops.layer_norm(x, eps)
    if _backends.norm == "apex" and _fits_apex(x):
        return _apex_ops.layer_norm(x, eps)
    return torch_ops.layer_norm(x, eps)


def modulated_norm(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """Return layer_norm(x) * (1 + scale) + shift, the adaptive layer norm of diffusion transformers.

    Args:
        x: (B, L, C).
        shift: (B, 1, C) or (B, C).
        scale: likewise.
        eps: added to the variance.

    Returns:
        (B, L, C) in the type that the three promote to.
    """
    shift, scale = (part[:, None] if part.ndim == 2 else part for part in (shift, scale))
    if _backends.modulation == "triton" and _fits_triton(x, shift, scale):
        return _triton_ops.modulated_norm(x, shift, scale, eps)
    return torch_ops.modulated_norm(x, shift, scale, eps)


def gated_add(x: Tensor, gate: Tensor, h: Tensor) -> Tensor:
    """Return x + gate * h in one pass: x and h (B, L, C), gate (B, 1, C) or (B, C). One torch kernel on any backend."""
    return torch.addcmul(x, gate[:, None] if gate.ndim == 2 else gate, h)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary position embedding: rotate the channel pairs (i, i + D / 2) by their angles.

    Args:
        x: (B, L, heads, D), D even.
        cos: (L, D) or (B, L, D) cosines of the angles; a constant without gradient.
        sin: sines, likewise.

    Returns:
        (B, L, heads, D) in the type of x.
    """
    if _backends.rotary == "triton" and cos.ndim == 2 and _fits_triton(x, cos, sin):
        return _triton_ops.rotate(x, cos, sin)
    return torch_ops.rotate(x, cos, sin)


def qk_norm_rotate(x: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, eps: float) -> Tensor:
    """Return rotate(rms_norm(x)) of queries or keys, in one kernel where norm and rotary both run on Triton.

    Arguments as :func:`rms_norm` and :func:`rotate`: x (B, L, heads, D), weight (D,), cos and sin (L, D) or
    (B, L, D), which run on torch.
    """
    if _backends.norm == _backends.rotary == "triton" and cos.ndim == 2 and _fits_triton(x, weight, cos, sin):
        return _triton_ops.qk_norm_rotate(x, weight, cos, sin, eps)
    return rotate(rms_norm(x, weight, eps), cos, sin)


def replace_linears(module: nn.Module, recipe: str, names: Collection[str] | None = None) -> list[str]:
    """Replace linear layers by TransformerEngine's (FP8) in place; values, parameter names and state-dict keys stay.

    Call it when the weights are initialized and on their device, and before they are sharded or given to an optimizer:
    the parameters are new objects, and networks initialize only layers that are ``nn.Linear``.

    Args:
        module: the network.
        recipe: ``none`` (no FP8), ``current`` (a scale per tensor), ``block`` (per block of 128), ``mxfp8`` (per 32).
            None of them keeps a history, so a checkpoint needs nothing beside the weights to resume exactly.
        names: which layers, by module name; all where None. Layers whose sizes do not divide by 16 (32 for ``mxfp8``,
            128 for ``block``) are kept.

    Returns:
        Names of the replaced layers.

    Raises:
        UserError: TransformerEngine or the device cannot do this, or a name is no linear layer.
    """
    device = next(module.parameters()).device
    if problem := obstacle("te", device):
        raise UserError(f"kernels.linear=te: {problem}; leave it out or set kernels.linear=torch")
    from cosmos_lidar.kernels import te_ops

    return te_ops.replace_linears(module, recipe, names)


def _fits_triton(*tensors: Tensor) -> bool:
    on_device = tensors[0].is_cuda or _triton_ops.INTERPRETED
    return on_device and is_plain(*tensors) and all(tensor.dtype in _TRITON_DTYPES for tensor in tensors)


def _fits_apex(*tensors: Tensor) -> bool:
    """Apex's norms want tensors of one type: with others they return the type of the weight."""
    dtypes = {tensor.dtype for tensor in tensors}
    return tensors[0].is_cuda and is_plain(*tensors) and len(dtypes) == 1 and dtypes <= set(_TRITON_DTYPES)
