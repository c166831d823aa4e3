"""The contract of every operation of ``cosmos_lidar.kernels``: its formula in float64, values and all gradients.

Tests hold each backend to it, and so does ``benchmarks/gpu.py`` on a machine that has no pytest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cosmos_lidar import kernels

EPS = 1e-6


@dataclass(frozen=True)
class Operation:
    """An operation of the door, its formula, its inputs and the fields of Backends that lead it to a backend."""

    run: Callable
    formula: Callable
    inputs: Callable[[tuple[int, ...]], tuple[dict[str, Tensor], dict[str, Tensor]]]
    fields: tuple[str, ...]
    backends: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]


def formula_attention(q, k, v):
    weights = torch.einsum("blhd,bmhd->bhlm", q, k) / q.shape[-1] ** 0.5
    weights = (weights - weights.amax(-1, keepdim=True)).exp()
    return torch.einsum("bhlm,bmhd->blhd", weights / weights.sum(-1, keepdim=True), v)


def formula_rms(x, weight):
    return x * weight / ((x**2).sum(-1, keepdim=True) / x.shape[-1] + EPS) ** 0.5


def formula_norm(x):
    centered = x - x.sum(-1, keepdim=True) / x.shape[-1]
    return centered / ((centered**2).sum(-1, keepdim=True) / x.shape[-1] + EPS) ** 0.5


def formula_modulated(x, shift, scale):
    return formula_norm(x) * (1 + scale.view(len(x), 1, -1)) + shift.view(len(x), 1, -1)


def formula_rotate(x, cos, sin):
    half = x.shape[-1] // 2
    a, b, (c, s) = x[..., :half], x[..., half:], (table[None, :, None] for table in (cos, sin))
    return torch.cat([a * c[..., :half] - b * s[..., :half], b * c[..., half:] + a * s[..., half:]], -1)


def normal(*shape):
    # Far from mean 0 and deviation 1, so that a forgotten term shows.
    return 1.5 * torch.randn(*shape) + 0.7


def inputs_attention(shape):
    batch, length, context, heads, channels = shape
    return {"q": normal(batch, length, heads, channels), "k": normal(batch, context, heads, channels),
            "v": normal(batch, context, heads, channels)}, {}  # fmt: skip


def inputs_rms(shape):
    return {"x": normal(*shape), "weight": normal(shape[-1])}, {}


def inputs_modulated(shape):
    return {"x": normal(*shape), "shift": normal(shape[0], 1, shape[-1]), "scale": normal(shape[0], 1, shape[-1])}, {}


def inputs_rotate(shape):
    return {"x": normal(*shape)}, {"cos": torch.randn(shape[1], shape[-1]), "sin": torch.randn(shape[1], shape[-1])}


def inputs_qk(shape):
    varied, constant = inputs_rotate(shape)
    return {**varied, "weight": normal(shape[-1])}, constant


# Channels: the published 128 per head and 2048, multiples of no power of two, odd; lengths: of no tile.
ROWS = ((2, 43, 96), (1, 37, 128), (2, 5, 2048), (3, 3, 1001), (1, 67, 2, 128))
TOKENS = ((2, 43, 96), (1, 37, 128), (3, 5, 2048), (2, 3, 1001))
HEADS = ((2, 37, 3, 96), (1, 35, 2, 128), (1, 70, 1, 12), (1, 3, 2, 2048))
OPERATIONS = {
    "attention": Operation(
        kernels.attention, formula_attention, inputs_attention, ("attention",), ("torch", "cudnn", "te"),
        ((2, 37, 37, 3, 96), (1, 35, 11, 2, 128), (2, 5, 64, 1, 64)),
    ),
    "rms_norm": Operation(
        lambda x, weight: kernels.rms_norm(x, weight, EPS), formula_rms, inputs_rms,
        ("norm",), ("torch", "triton", "apex"), ROWS,
    ),
    "layer_norm": Operation(
        lambda x: kernels.layer_norm(x, EPS), formula_norm, lambda shape: ({"x": normal(*shape)}, {}),
        ("norm",), ("torch", "triton", "apex"), ROWS,
    ),
    "modulated_norm": Operation(
        lambda x, shift, scale: kernels.modulated_norm(x, shift, scale, EPS), formula_modulated, inputs_modulated,
        ("modulation",), ("torch", "triton"), TOKENS,
    ),
    "gated_add": Operation(
        lambda x, shift, scale: kernels.gated_add(x, shift, scale.expand_as(x)),
        lambda x, shift, scale: x + shift * scale, inputs_modulated, ("modulation",), ("torch",), TOKENS,
    ),
    "rotate": Operation(
        kernels.rotate, formula_rotate, inputs_rotate, ("rotary",), ("torch", "triton"), HEADS
    ),
    "qk_norm_rotate": Operation(
        lambda x, weight, cos, sin: kernels.qk_norm_rotate(x, weight, cos, sin, EPS),
        lambda x, weight, cos, sin: formula_rotate(formula_rms(x, weight), cos, sin),
        inputs_qk, ("norm", "rotary"), ("torch", "triton"), HEADS,
    ),
}  # fmt: skip
# Share of the result's root mean square: one rounding of bfloat16 is 2^-9; plain torch rounds between its steps too.
BOUNDS = {torch.float32: 3e-6, torch.bfloat16: 2.0**-7}


def rms(x: Tensor) -> float:
    return x.double().square().mean().sqrt().item()


def check(name: str, found: Tensor, wanted: Tensor, bound: float) -> None:
    assert found.shape == wanted.shape, name
    error, size = found.double() - wanted, max(rms(wanted), 1e-3)
    assert rms(error) < bound * size, f"{name}: root mean square error {rms(error):.3g} of {size:.3g}"
    # A single wrong element hides in a mean; how far a right one may be off differs between processors.
    worst = (error.abs() / (wanted.abs() + size)).max().item()
    assert worst < 32 * bound, f"{name}: one element is off by {worst:.3g}"


def check_contract(name: str, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
    """Compare forward and every gradient, from the same rounded inputs, on the backends in use.

    Raises:
        AssertionError: a value is further from the formula than rounding explains.
    """
    operation = OPERATIONS[name]
    torch.manual_seed(len(shape) + shape[-1])
    varied, constant = operation.inputs(shape)
    varied = {key: value.to(device, dtype) for key, value in varied.items()}
    given = {key: value.clone().requires_grad_() for key, value in varied.items()}
    exact = {key: value.double().requires_grad_() for key, value in varied.items()}
    constant = {key: value.to(device) for key, value in constant.items()}
    found = operation.run(**given, **constant)
    wanted = operation.formula(**exact, **{key: value.double() for key, value in constant.items()})
    assert found.dtype == dtype
    grad = normal(*found.shape).to(device, dtype)
    gradients = torch.autograd.grad(found, list(given.values()), grad)
    wanted_gradients = torch.autograd.grad(wanted, list(exact.values()), grad.double())
    check("result", found, wanted, BOUNDS[dtype])
    for key, value, true in zip(given, gradients, wanted_gradients, strict=True):
        assert value.dtype == dtype
        check(f"gradient of {key}", value, true, BOUNDS[dtype])


def check_adamw(make: Callable[..., torch.optim.Optimizer], device: torch.device) -> None:
    """Compare three updates of AdamW with its formula in float64 (Loshchilov and Hutter 2019, algorithm 2).

    Args:
        make: (parameters, lr, betas, eps, weight_decay) -> optimizer.
        device: of the parameters.

    Raises:
        AssertionError: a parameter is further from the formula than rounding explains.
    """
    torch.manual_seed(0)
    lr, betas, eps, decay = 0.05, (0.8, 0.95), 1e-6, 0.1
    found = [torch.nn.Parameter(normal(*shape).to(device)) for shape in ((3, 5), (7,), (2, 3, 4))]
    exact = [parameter.detach().double() for parameter in found]
    moments = [[torch.zeros_like(parameter) for _ in range(2)] for parameter in exact]
    optimizer = make(found, lr=lr, betas=betas, eps=eps, weight_decay=decay)
    for step in (1, 2, 3):
        for parameter, true, (first, second) in zip(found, exact, moments, strict=True):
            parameter.grad = normal(*parameter.shape).to(device)
            gradient = parameter.grad.double()
            first.mul_(betas[0]).add_((1 - betas[0]) * gradient)
            second.mul_(betas[1]).add_((1 - betas[1]) * gradient**2)
            update = first / (1 - betas[0] ** step) / ((second / (1 - betas[1] ** step)) ** 0.5 + eps)
            true.sub_(lr * (update + decay * true))
        optimizer.step()
        for number, (parameter, true) in enumerate(zip(found, exact, strict=True)):
            check(f"parameter {number}, step {step}", parameter.detach(), true, 1e-6)
