"""Fused norm, modulation and rotary kernels, forward and backward, as custom operators for ``torch.compile``.

A program normalizes a few whole rows at a time, so every value is read once; sums are float32 and in a fixed order
(no atomics), so results are bitwise reproducible. The backward kernels recompute mean and deviation from the row they
read anyway and leave one partial sum per program of what is summed over rows.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
import triton
from torch import Tensor
from torch.autograd.function import FunctionCtx

from cosmos_lidar.kernels.triton_kernels import (
    INTERPRETED,
    modulated_norm_backward,
    modulated_norm_forward,
    rms_norm_backward,
    rms_norm_forward,
    rotate_backward,
    rotate_forward,
)

__all__ = ["INTERPRETED", "layer_norm", "modulated_norm", "qk_norm_rotate", "rms_norm", "rotate"]

# Values of a tensor that one program holds at a time. 8 for each thread are one load of 16 bytes in bfloat16; kernels
# that add up gradients over rows hold 16, so that fewer partial sums are left to add. None of them spills registers on
# compute capability 8.0, 9.0 and 10.0 (benchmarks/triton_resources.py).
_SMALL_TILE, _TILE = 1024, 2048
# Programs that share the rows of a backward pass: about four per multiprocessor of a large GPU. A constant, so that
# sums have the same order on every GPU.
_PROGRAMS = 512


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """As :func:`cosmos_lidar.kernels.rms_norm`."""
    _require(weight, x.shape[-1:])
    return _rms_norm(x, weight, eps)


def layer_norm(x: Tensor, eps: float) -> Tensor:
    """As :func:`cosmos_lidar.kernels.layer_norm`."""
    return _layer_norm(x, eps)


def modulated_norm(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """As :func:`cosmos_lidar.kernels.modulated_norm`, with shift and scale (B, 1, C)."""
    whole = len(x), 1, x.shape[-1]
    return _modulated_norm(x, shift.expand(whole)[:, 0], scale.expand(whole)[:, 0], eps)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """As :func:`cosmos_lidar.kernels.rotate`."""
    _require(cos, (x.shape[1], x.shape[3]))
    _require(sin, cos.shape)
    return _rotate(x, cos, sin)


def qk_norm_rotate(x: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, eps: float) -> Tensor:
    """As :func:`cosmos_lidar.kernels.qk_norm_rotate`."""
    _require(weight, x.shape[-1:])
    _require(cos, (x.shape[1], x.shape[3]))
    _require(sin, cos.shape)
    return _qk_norm_rotate(x, weight, cos, sin, eps)


@torch.library.custom_op("cosmos_lidar::rms_norm", mutates_args=())
def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    x, channels = x.contiguous(), x.shape[-1]
    y, rows, tile = torch.empty_like(x), x.numel() // channels, _tile(channels, _SMALL_TILE)
    with _on(x):
        rms_norm_forward[(triton.cdiv(rows, tile["ROWS"]),)](x, weight.contiguous(), y, rows, channels, eps, **tile)
    return y


@torch.library.custom_op("cosmos_lidar::rms_norm_backward", mutates_args=())
def _rms_norm_backward(grad: Tensor, x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    grad, x, channels = grad.contiguous(), x.contiguous(), x.shape[-1]
    rows, tile = x.numel() // channels, _tile(channels, _TILE)
    programs = min(_PROGRAMS, triton.cdiv(rows, tile["ROWS"]))
    dx, partial = torch.empty_like(x), _partial(x, programs, channels)
    with _on(x):
        rms_norm_backward[(programs,)](grad, x, weight.contiguous(), dx, partial, rows, channels, eps, **tile)
    return dx, partial.sum(0).to(weight.dtype)


@torch.library.custom_op("cosmos_lidar::layer_norm", mutates_args=())
def _layer_norm(x: Tensor, eps: float) -> Tensor:
    x, channels = x.contiguous(), x.shape[-1]
    y, rows, tile = torch.empty_like(x), x.numel() // channels, _tile(channels, _SMALL_TILE)
    grid = (triton.cdiv(rows, tile["ROWS"]), 1)
    with _on(x):
        modulated_norm_forward[grid](x, None, None, y, rows, channels, 0, 0, eps, MODULATED=False, **tile)
    return y


@torch.library.custom_op("cosmos_lidar::layer_norm_backward", mutates_args=())
def _layer_norm_backward(grad: Tensor, x: Tensor, eps: float) -> Tensor:
    grad, x, channels = grad.contiguous(), x.contiguous(), x.shape[-1]
    dx, rows, tile = torch.empty_like(x), x.numel() // channels, _tile(channels, _TILE)
    grid = (triton.cdiv(rows, tile["ROWS"]), 1)
    with _on(x):
        modulated_norm_backward[grid](grad, x, None, dx, None, None, rows, channels, 0, eps, MODULATED=False, **tile)
    return dx


@torch.library.custom_op("cosmos_lidar::modulated_norm", mutates_args=())
def _modulated_norm(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    x, shift, scale = x.contiguous(), _rows_of_ones(shift), _rows_of_ones(scale)
    batch, length, channels = x.shape
    y, tile = torch.empty(x.shape, dtype=_promoted(x, shift, scale), device=x.device), _tile(channels, _SMALL_TILE)
    grid = (triton.cdiv(length, tile["ROWS"]), batch)
    strides = shift.stride(0), scale.stride(0)
    with _on(x):
        modulated_norm_forward[grid](x, shift, scale, y, length, channels, *strides, eps, MODULATED=True, **tile)
    return y


@torch.library.custom_op("cosmos_lidar::modulated_norm_backward", mutates_args=())
def _modulated_norm_backward(grad: Tensor, x: Tensor, scale: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    grad, x, scale = grad.contiguous(), x.contiguous(), _rows_of_ones(scale)
    (batch, length, channels), tile = x.shape, _tile(x.shape[-1], _TILE)
    programs = min(triton.cdiv(_PROGRAMS, batch), triton.cdiv(length, tile["ROWS"]))
    dx, dshift, dscale = torch.empty_like(x), *(_partial(x, batch, programs, channels) for _ in range(2))
    sizes = length, channels, scale.stride(0), eps
    with _on(x):
        modulated_norm_backward[(programs, batch)](grad, x, scale, dx, dshift, dscale, *sizes, MODULATED=True, **tile)
    return dx, dshift.sum(1), dscale.sum(1)


@torch.library.custom_op("cosmos_lidar::rotate", mutates_args=())
def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return _launch_rotate(x, None, cos, sin, 0.0)


@torch.library.custom_op("cosmos_lidar::rotate_backward", mutates_args=())
def _rotate_backward(grad: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return _launch_rotate_backward(grad, None, None, cos, sin, 0.0)[0]


@torch.library.custom_op("cosmos_lidar::qk_norm_rotate", mutates_args=())
def _qk_norm_rotate(x: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, eps: float) -> Tensor:
    return _launch_rotate(x, weight, cos, sin, eps)


@torch.library.custom_op("cosmos_lidar::qk_norm_rotate_backward", mutates_args=())
def _qk_norm_rotate_backward(
    grad: Tensor, x: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, eps: float
) -> tuple[Tensor, Tensor]:
    dx, partial = _launch_rotate_backward(grad, x, weight, cos, sin, eps)
    return dx, partial.sum(0).to(weight.dtype)


def _launch_rotate(x: Tensor, weight: Tensor | None, cos: Tensor, sin: Tensor, eps: float) -> Tensor:
    x, normed = x.contiguous(), weight is not None
    y = torch.empty_like(x)
    rows, (length, heads, channels) = x.numel() // x.shape[-1], x.shape[1:]
    tile = _tile(channels // 2, _SMALL_TILE)
    sizes = rows, length, heads, channels // 2, eps
    tables = cos.contiguous(), sin.contiguous()
    with _on(x):
        rotate_forward[(triton.cdiv(rows, tile["ROWS"]),)](x, weight, *tables, y, *sizes, NORMED=normed, **tile)
    return y


def _launch_rotate_backward(
    grad: Tensor, x: Tensor | None, weight: Tensor | None, cos: Tensor, sin: Tensor, eps: float
) -> tuple[Tensor, Tensor | None]:
    grad, normed = grad.contiguous(), weight is not None
    x = x.contiguous() if normed else None
    rows, (length, heads, channels) = grad.numel() // grad.shape[-1], grad.shape[1:]
    tile = _tile(channels // 2, _SMALL_TILE)
    programs = min(_PROGRAMS, triton.cdiv(rows, tile["ROWS"]))
    dx, partial = torch.empty_like(x if normed else grad), _partial(grad, programs, channels) if normed else None
    sizes = rows, length, heads, channels // 2, eps
    tables = cos.contiguous(), sin.contiguous()
    with _on(grad):
        rotate_backward[(programs,)](grad, x, weight, *tables, dx, partial, *sizes, NORMED=normed, **tile)
    return dx, partial


def _require(tensor: Tensor, shape: tuple[int, ...]) -> None:
    """The kernels do not broadcast: a smaller tensor would be read past its end."""
    if tuple(tensor.shape) != tuple(shape):
        raise ValueError(f"a tensor of shape {tuple(tensor.shape)} where {tuple(shape)} is expected")


def _tile(channels: int, held: int) -> dict[str, int]:
    """Launch options: rows and (power of two) columns that a program holds, and its warps."""
    width = triton.next_power_of_2(channels)
    return {"ROWS": max(1, held // width), "WIDTH": width, "num_warps": min(16, max(4, 4 * width // held))}


def _partial(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device=like.device)


def _promoted(*tensors: Tensor) -> torch.dtype:
    dtype = tensors[0].dtype
    for tensor in tensors[1:]:
        dtype = torch.promote_types(dtype, tensor.dtype)
    return dtype


def _rows_of_ones(x: Tensor) -> Tensor:
    """(B, C) whose channels lie side by side; parts of a chunked tensor pass uncopied."""
    return x if x.stride(-1) == 1 else x.contiguous()


def _on(x: Tensor) -> AbstractContextManager:
    """Triton launches on the current device, whatever its arguments."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


# Registration for the compiler: output shape and dtype of each operator, and its derivative.


@_rms_norm.register_fake
def _(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    return x.new_empty(x.shape)


@_rms_norm_backward.register_fake
def _(grad: Tensor, x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


@_layer_norm.register_fake
def _(x: Tensor, eps: float) -> Tensor:
    return x.new_empty(x.shape)


@_layer_norm_backward.register_fake
def _(grad: Tensor, x: Tensor, eps: float) -> Tensor:
    return x.new_empty(x.shape)


@_modulated_norm.register_fake
def _(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    return x.new_empty(x.shape, dtype=_promoted(x, shift, scale))


@_modulated_norm_backward.register_fake
def _(grad: Tensor, x: Tensor, scale: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), *(scale.new_empty(scale.shape, dtype=torch.float32) for _ in range(2))


@_rotate.register_fake
def _(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return x.new_empty(x.shape)


@_rotate_backward.register_fake
def _(grad: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return grad.new_empty(grad.shape)


@_qk_norm_rotate.register_fake
def _(x: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, eps: float) -> Tensor:
    return x.new_empty(x.shape)


@_qk_norm_rotate_backward.register_fake
def _(grad: Tensor, x: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), weight.new_empty(weight.shape)


def _keep(ctx: FunctionCtx, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*(value for value in inputs if isinstance(value, Tensor)))
    ctx.eps = inputs[-1]


def _keep_angles(ctx: FunctionCtx, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:])


def _rms_norm_gradient(ctx: FunctionCtx, grad: Tensor) -> tuple:
    return *_rms_norm_backward(grad, *ctx.saved_tensors, ctx.eps), None


def _layer_norm_gradient(ctx: FunctionCtx, grad: Tensor) -> tuple:
    return _layer_norm_backward(grad, *ctx.saved_tensors, ctx.eps), None


def _modulated_norm_gradient(ctx: FunctionCtx, grad: Tensor) -> tuple:
    x, shift, scale = ctx.saved_tensors
    dx, dshift, dscale = _modulated_norm_backward(grad, x, scale, ctx.eps)
    return dx, dshift.to(shift.dtype), dscale.to(scale.dtype), None


def _rotate_gradient(ctx: FunctionCtx, grad: Tensor) -> tuple:
    return _rotate_backward(grad, *ctx.saved_tensors), None, None


def _qk_norm_rotate_gradient(ctx: FunctionCtx, grad: Tensor) -> tuple:
    return *_qk_norm_rotate_backward(grad, *ctx.saved_tensors, ctx.eps), None, None, None


_rms_norm.register_autograd(_rms_norm_gradient, setup_context=_keep)
_layer_norm.register_autograd(_layer_norm_gradient, setup_context=_keep)
_modulated_norm.register_autograd(_modulated_norm_gradient, setup_context=_keep)
_rotate.register_autograd(_rotate_gradient, setup_context=_keep_angles)
_qk_norm_rotate.register_autograd(_qk_norm_rotate_gradient, setup_context=_keep)
