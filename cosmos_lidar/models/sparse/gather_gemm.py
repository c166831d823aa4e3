"""Sparse convolution as gather, GEMM and ordered sum, with its gradients; the same on CPU and CUDA.

For each part k of the kernel, rows of the input are gathered and multiplied with its matrix; the products of each
output row are then summed in the order of the parts (output-stationary). Nothing is added by atomics: results do not
vary from run to run.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from cosmos_lidar.models.sparse.kernel_map import KernelMap


def sparse_conv(features: Tensor, weight: Tensor, pairs: KernelMap) -> Tensor:
    """Return out[t] = sum over pairs (s, t) of part k of features[s] @ weight[k].

    Args:
        features: (source_count, Cin).
        weight: (K, Cin, Cout).
        pairs: of the K parts.

    Returns:
        (target_count, Cout).
    """
    if torch.is_autocast_enabled(features.device.type):
        dtype = torch.get_autocast_dtype(features.device.type)
        features, weight = features.to(dtype), weight.to(dtype)
    return _SparseConv.apply(features, weight, pairs)


class _SparseConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, pairs: KernelMap) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.pairs = pairs
        return _multiply(features, weight, pairs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, weight = ctx.saved_tensors
        gradient = gradient.contiguous()
        by_features = by_weight = None
        if ctx.needs_input_grad[0]:
            by_features = _multiply(gradient, weight.transpose(1, 2), ctx.pairs.reversed)
        if ctx.needs_input_grad[1]:
            by_weight = _weight_gradient(features, gradient, ctx.pairs)
        return by_features, by_weight, None


def _multiply(features: Tensor, weight: Tensor, pairs: KernelMap) -> Tensor:
    products = features.new_empty(len(pairs.sources), weight.shape[2])
    for part, where in pairs.parts():
        torch.mm(features.index_select(0, pairs.sources[where]), weight[part], out=products[where])
    order, bounds = pairs.by_target
    out = F.embedding_bag(order, products, bounds, mode="sum", include_last_offset=True)
    if pairs.center is not None:
        out.addmm_(features, weight[pairs.center])
    return out


def _weight_gradient(features: Tensor, gradient: Tensor, pairs: KernelMap) -> Tensor:
    by_weight = features.new_zeros(len(pairs.counts), features.shape[1], gradient.shape[1])
    for part, where in pairs.parts():
        sources = features.index_select(0, pairs.sources[where])
        targets = gradient.index_select(0, pairs.targets[where])
        torch.mm(sources.t(), targets, out=by_weight[part])
    if pairs.center is not None:
        torch.mm(features.t(), gradient, out=by_weight[pairs.center])
    return by_weight
