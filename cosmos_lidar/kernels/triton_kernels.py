"""Triton kernels; :mod:`cosmos_lidar.kernels.triton_ops` launches them and holds their shapes.

Rows are contiguous. ``ROWS`` x ``WIDTH`` is what a program holds at a time, ``WIDTH`` a power of two >= the channels.
Arguments carry no types: Triton compiles a kernel for those it is launched with, and an annotation would fix them.
"""

from __future__ import annotations

import os

import triton
import triton.language as tl

# Triton decides at decoration, below, whether its interpreter runs the programs (on the CPU, for tests).
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


@triton.jit
def _inverse_rms(squares, channels, eps):
    return tl.rsqrt(squares / channels + eps)


@triton.jit
def _standardize(x, mask, channels, eps):
    """(x - mean) / deviation of each row, 0 outside the mask, and 1 / deviation."""
    mean = tl.sum(x, 1) / channels
    centered = tl.where(mask, x - mean[:, None], 0.0)
    inverse = _inverse_rms(tl.sum(centered * centered, 1), channels, eps)
    return centered * inverse[:, None], inverse


@triton.jit
def rms_norm_forward(
    x_ptr, weight_ptr, y_ptr, rows, channels, eps, ROWS: tl.constexpr, WIDTH: tl.constexpr
):  # fmt: skip
    """Store y = x / rms(x) * weight; x, y (rows, channels); grid (tiles,)."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDTH)
    mask = (row < rows)[:, None] & (column < channels)[None, :]
    place = row[:, None] * channels + column[None, :]
    x = tl.load(x_ptr + place, mask=mask, other=0.0).to(tl.float32)
    weight = tl.load(weight_ptr + column, mask=column < channels, other=0.0).to(tl.float32)
    y = x * _inverse_rms(tl.sum(x * x, 1), channels, eps)[:, None] * weight[None, :]
    tl.store(y_ptr + place, y.to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def rms_norm_backward(
    grad_ptr, x_ptr, weight_ptr, dx_ptr, partial_ptr, rows, channels, eps, ROWS: tl.constexpr, WIDTH: tl.constexpr
):
    """Gradients of x and, per program, of weight: partial (programs, channels); programs take tiles in turn."""
    column = tl.arange(0, WIDTH)
    weight = tl.load(weight_ptr + column, mask=column < channels, other=0.0).to(tl.float32)
    total = tl.zeros((WIDTH,), tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(rows, ROWS), tl.num_programs(0)):
        row = tl.cast(tile, tl.int64) * ROWS + tl.arange(0, ROWS)
        mask = (row < rows)[:, None] & (column < channels)[None, :]
        place = row[:, None] * channels + column[None, :]
        x = tl.load(x_ptr + place, mask=mask, other=0.0).to(tl.float32)
        grad = tl.load(grad_ptr + place, mask=mask, other=0.0).to(tl.float32)
        inverse = _inverse_rms(tl.sum(x * x, 1), channels, eps)
        unit, inner = x * inverse[:, None], grad * weight[None, :]
        dx = inverse[:, None] * (inner - unit * (tl.sum(inner * unit, 1) / channels)[:, None])
        tl.store(dx_ptr + place, dx.to(dx_ptr.dtype.element_ty), mask=mask)
        total += tl.sum(grad * unit, 0)
    tl.store(partial_ptr + tl.program_id(0) * channels + column, total, mask=column < channels)


@triton.jit
def modulated_norm_forward(
    x_ptr, shift_ptr, scale_ptr, y_ptr, length, channels, shift_stride, scale_stride, eps,
    MODULATED: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Store y = layer_norm(x) * (1 + scale) + shift; x (B, length, channels), scale (B, channels); grid (tiles, B)."""
    batch = tl.program_id(1).to(tl.int64)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDTH)
    mask = (row < length)[:, None] & (column < channels)[None, :]
    place = (batch * length + row)[:, None] * channels + column[None, :]
    x = tl.load(x_ptr + place, mask=mask, other=0.0).to(tl.float32)
    y, _ = _standardize(x, mask, channels, eps)
    if MODULATED:
        inside = column < channels
        scale = tl.load(scale_ptr + batch * scale_stride + column, mask=inside, other=0.0).to(tl.float32)
        shift = tl.load(shift_ptr + batch * shift_stride + column, mask=inside, other=0.0).to(tl.float32)
        y = y * (1.0 + scale)[None, :] + shift[None, :]
    tl.store(y_ptr + place, y.to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def modulated_norm_backward(
    grad_ptr, x_ptr, scale_ptr, dx_ptr, dshift_ptr, dscale_ptr, length, channels, scale_stride, eps,
    MODULATED: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Gradients of x and, per program, of shift and scale: (B, programs, channels); programs take tiles in turn."""
    program, batch = tl.program_id(0), tl.program_id(1).to(tl.int64)
    column = tl.arange(0, WIDTH)
    inside = column < channels
    factor = tl.full((WIDTH,), 1.0, tl.float32)
    dshift, dscale = tl.zeros((WIDTH,), tl.float32), tl.zeros((WIDTH,), tl.float32)
    if MODULATED:
        factor += tl.load(scale_ptr + batch * scale_stride + column, mask=inside, other=0.0).to(tl.float32)
    for tile in range(program, tl.cdiv(length, ROWS), tl.num_programs(0)):
        row = tile * ROWS + tl.arange(0, ROWS)
        mask = (row < length)[:, None] & inside[None, :]
        place = (batch * length + row)[:, None] * channels + column[None, :]
        grad = tl.load(grad_ptr + place, mask=mask, other=0.0).to(tl.float32)
        unit, inverse = _standardize(tl.load(x_ptr + place, mask=mask, other=0.0).to(tl.float32), mask, channels, eps)
        inner = grad * factor[None, :]
        along = (tl.sum(inner * unit, 1) / channels)[:, None]
        dx = inverse[:, None] * (inner - (tl.sum(inner, 1) / channels)[:, None] - unit * along)
        tl.store(dx_ptr + place, dx.to(dx_ptr.dtype.element_ty), mask=mask)
        if MODULATED:
            dshift += tl.sum(grad, 0)
            dscale += tl.sum(grad * unit, 0)
    if MODULATED:
        partial = (batch * tl.num_programs(0) + program) * channels + column
        tl.store(dshift_ptr + partial, dshift, mask=inside)
        tl.store(dscale_ptr + partial, dscale, mask=inside)


@triton.jit
def _load_halves(pointer, place, half, mask):
    first = tl.load(pointer + place, mask=mask, other=0.0).to(tl.float32)
    return first, tl.load(pointer + place + half, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def _store_halves(pointer, place, half, mask, first, second):
    tl.store(pointer + place, first.to(pointer.dtype.element_ty), mask=mask)
    tl.store(pointer + place + half, second.to(pointer.dtype.element_ty), mask=mask)


@triton.jit
def rotate_forward(
    x_ptr, weight_ptr, cos_ptr, sin_ptr, y_ptr, rows, length, heads, half, eps,
    NORMED: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Turn (x / rms(x) * weight), or x itself; x, y (B, length, heads, 2 half), cos, sin (length, 2 half)."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDTH)
    mask = (row < rows)[:, None] & (column < half)[None, :]
    place = row[:, None] * 2 * half + column[None, :]
    first, second = _load_halves(x_ptr, place, half, mask)
    if NORMED:
        inverse = _inverse_rms(tl.sum(first * first + second * second, 1), 2 * half, eps)[:, None]
        weight_1, weight_2 = _load_halves(weight_ptr, column, half, column < half)
        first, second = first * inverse * weight_1[None, :], second * inverse * weight_2[None, :]
    angle = (row // heads % length)[:, None] * 2 * half + column[None, :]
    cos_1, cos_2 = _load_halves(cos_ptr, angle, half, mask)
    sin_1, sin_2 = _load_halves(sin_ptr, angle, half, mask)
    _store_halves(y_ptr, place, half, mask, first * cos_1 - second * sin_1, second * cos_2 + first * sin_2)


@triton.jit
def rotate_backward(
    grad_ptr, x_ptr, weight_ptr, cos_ptr, sin_ptr, dx_ptr, partial_ptr, rows, length, heads, half, eps,
    NORMED: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Gradients of x and, per program, of weight: partial (programs, 2 half); programs take tiles in turn."""
    column = tl.arange(0, WIDTH)
    total_1, total_2 = tl.zeros((WIDTH,), tl.float32), tl.zeros((WIDTH,), tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(rows, ROWS), tl.num_programs(0)):
        row = tl.cast(tile, tl.int64) * ROWS + tl.arange(0, ROWS)
        mask = (row < rows)[:, None] & (column < half)[None, :]
        place = row[:, None] * 2 * half + column[None, :]
        angle = (row // heads % length)[:, None] * 2 * half + column[None, :]
        grad_1, grad_2 = _load_halves(grad_ptr, place, half, mask)
        cos_1, cos_2 = _load_halves(cos_ptr, angle, half, mask)
        sin_1, sin_2 = _load_halves(sin_ptr, angle, half, mask)
        dx_1, dx_2 = grad_1 * cos_1 + grad_2 * sin_2, grad_2 * cos_2 - grad_1 * sin_1
        if NORMED:
            first, second = _load_halves(x_ptr, place, half, mask)
            inverse = _inverse_rms(tl.sum(first * first + second * second, 1), 2 * half, eps)[:, None]
            first, second = first * inverse, second * inverse
            total_1 += tl.sum(dx_1 * first, 0)
            total_2 += tl.sum(dx_2 * second, 0)
            weight_1, weight_2 = _load_halves(weight_ptr, column, half, column < half)
            dx_1, dx_2 = dx_1 * weight_1[None, :], dx_2 * weight_2[None, :]
            along = (tl.sum(dx_1 * first + dx_2 * second, 1) / (2 * half))[:, None]
            dx_1, dx_2 = inverse * (dx_1 - first * along), inverse * (dx_2 - second * along)
        _store_halves(dx_ptr, place, half, mask, dx_1, dx_2)
    if NORMED:
        partial = partial_ptr + tl.program_id(0) * 2 * half + column
        tl.store(partial, total_1, mask=column < half)
        tl.store(partial + half, total_2, mask=column < half)
