"""Apex's norms and its AdamW, through a stand-in with the published parameter names: the real one needs CUDA."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor

from cosmos_lidar import kernels
from tests.kernels.contract import EPS, check_adamw, formula_norm, formula_rms


def fused_rms_norm_affine(input, weight, normalized_shape, eps=1e-6, memory_efficient=False):  # noqa: A002
    assert (tuple(normalized_shape), input.dtype) == (tuple(weight.shape), weight.dtype)
    return torch.nn.functional.rms_norm(input, tuple(normalized_shape), weight, eps)


def fused_layer_norm(input, normalized_shape, eps=1e-6, memory_efficient=False):  # noqa: A002
    return torch.nn.functional.layer_norm(input, tuple(normalized_shape), eps=eps)


def multi_tensor_adam(
    chunk_size, noop_flag, tensor_lists, lr, beta1, beta2, epsilon, step, mode, bias_correction, weight_decay
):
    """What the kernel does to each element, in the order of its published source."""
    assert noop_flag.dtype == torch.int32
    assert (mode, bias_correction) == (1, 1)
    for g, p, m, v in zip(*tensor_lists, strict=True):
        assert g.dtype == p.dtype == m.dtype == v.dtype == torch.float32
        m.copy_(beta1 * m + (1 - beta1) * g)
        v.copy_(beta2 * v + (1 - beta2) * g * g)
        update = (m / (1 - beta1**step)) / ((v / (1 - beta2**step)).sqrt() + epsilon) + weight_decay * p
        p.copy_(p - lr * update)


@pytest.fixture
def apex(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Installs the stand-in, which runs on the CPU."""
    package, apply, normalization, layer_norm, extension = (
        ModuleType(name)
        for name in (
            "apex",
            "apex.multi_tensor_apply",
            "apex.normalization",
            "apex.normalization.fused_layer_norm",
            "amp_C",
        )
    )
    apply.multi_tensor_applier = lambda op, noop_flag_buffer, tensor_lists, *args: op(
        2048 * 32, noop_flag_buffer, tensor_lists, *args
    )
    layer_norm.fused_rms_norm_affine, layer_norm.fused_layer_norm = fused_rms_norm_affine, fused_layer_norm
    extension.multi_tensor_adam = multi_tensor_adam
    for module in (package, apply, normalization, layer_norm, extension):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "cosmos_lidar.kernels.apex_ops", raising=False)
    from cosmos_lidar.kernels import apex_ops

    yield apex_ops
    sys.modules.pop("cosmos_lidar.kernels.apex_ops", None)
    vars(kernels).pop("apex_ops", None)


def test_norms_are_their_formulas(apex: ModuleType) -> None:
    x, weight = torch.randn(2, 5, 3, 8), torch.randn(8)
    torch.testing.assert_close(apex.rms_norm(x, weight, EPS), formula_rms(x, weight))
    torch.testing.assert_close(apex.layer_norm(x, EPS), formula_norm(x))


def test_norms_of_two_types_or_on_a_cpu_run_on_torch(apex: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a weight of another type apex returns that type; its kernels need CUDA."""
    before, called = kernels.current(), []
    kernels.use(kernels.Backends(norm="apex"))
    monkeypatch.setattr(kernels, "_apex_ops", apex)
    monkeypatch.setattr(apex, "rms_norm", lambda x, weight, eps: called.append(x.dtype) or x)
    try:
        x, weight = torch.randn(5, 8), torch.ones(8)
        torch.testing.assert_close(kernels.rms_norm(x, weight, EPS), formula_rms(x, weight))
        assert not called
        monkeypatch.setattr(Tensor, "is_cuda", True)
        assert not kernels._fits_apex(x.bfloat16(), weight)
        assert not kernels._fits_apex(x.double())
        kernels.rms_norm(x, weight, EPS)
        assert called == [torch.float32]
    finally:
        monkeypatch.undo()
        kernels.use(before)


def test_adamw_is_its_formula(apex: ModuleType) -> None:
    from cosmos_lidar.training.fused_adamw import FusedAdamW

    check_adamw(FusedAdamW, torch.device("cpu"))
