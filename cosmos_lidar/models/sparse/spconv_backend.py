"""spconv as a CUDA backend of sparse convolutions: its gather-GEMM-scatter kernels on our kernel maps.

It is used where :func:`use_backend` is called with ``"spconv"``, after its outputs and gradients on random voxels have
been compared with those of torch. spconv adds by atomics: results vary in the last bits from run to run.
"""

from __future__ import annotations

import importlib
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.sparse.conv import Convolution, SparseConv3d
from cosmos_lidar.models.sparse.gather_gemm import sparse_conv
from cosmos_lidar.models.sparse.kernel_map import KernelMap, Step, kernel_cells, strided_map, submanifold_map
from cosmos_lidar.models.sparse.sites import Sites

Backend = Literal["torch", "spconv"]
_TOLERANCE = 1e-3  # of the largest value; TF32 products are allowed


def use_backend(network: nn.Module, backend: Backend) -> nn.Module:
    """Choose what computes the sparse convolutions of a network, in place; returns it.

    Args:
        network: on its device.
        backend: ``torch``, or ``spconv`` on CUDA.

    Raises:
        UserError: an unknown backend; spconv is not installed, gives other numbers than torch, or the network is not
            on CUDA: its kernels for the CPU are wrong with more than one thread.
    """
    if backend not in get_args(Backend):
        raise UserError(f"backend {backend!r} of sparse convolutions; valid: {', '.join(get_args(Backend))}")
    layers = [module for module in network.modules() if isinstance(module, SparseConv3d)]
    compute: Convolution = sparse_conv
    if backend == "spconv":
        devices = {parameter.device for layer in layers for parameter in layer.parameters()}
        wrong = sorted({device.type for device in devices} - {"cuda"})
        if wrong:
            raise UserError(f"backend spconv: the network is on {', '.join(wrong)}, expected cuda")
        compute = spconv_convolution()
        for device in devices:
            check_convolution(compute, device)
    for layer in layers:
        layer.compute = compute
    return network


def spconv_convolution() -> Convolution:
    """Return spconv's convolution over the pairs of a kernel map.

    Raises:
        UserError: spconv cannot be imported.
    """
    try:
        functional: Any = importlib.import_module("spconv.pytorch.functional")
        native: Any = importlib.import_module("spconv.core").ConvAlgo.Native
    except Exception as error:  # of other versions of CUDA it raises errors of several kinds
        way = "pip install spconv-cu126 (or the one of your CUDA), or backend torch"
        raise UserError(f"backend spconv cannot be imported ({error!s:.120}): {way}") from error

    def convolve(features: Tensor, weight: Tensor, pairs: KernelMap) -> Tensor:
        table, counts = pair_table(pairs)
        parts, in_channels, out_channels = weight.shape
        filters = weight.permute(2, 0, 1).reshape(out_channels, parts, 1, 1, in_channels).contiguous()
        return functional.indice_conv(features.contiguous(), filters, table, counts, pairs.target_count, native)

    return convolve


def pair_table(pairs: KernelMap) -> tuple[Tensor, Tensor]:
    """Return pairs as spconv takes them: (2, K, most) int32 rows, -1 after the last one, and (K,) counts.

    Args:
        pairs: of K parts; those of the center are listed like the others.
    """
    device, counts = pairs.sources.device, list(pairs.counts)
    every = torch.arange(pairs.source_count, device=device)
    if pairs.center is not None:
        counts[pairs.center] = pairs.source_count
    table = torch.full((2, len(counts), max(counts)), -1, dtype=torch.int32, device=device)
    for part, where in pairs.parts():
        table[0, part, : counts[part]] = pairs.sources[where]
        table[1, part, : counts[part]] = pairs.targets[where]
    if pairs.center is not None:
        table[:, pairs.center, : pairs.source_count] = every.to(torch.int32)
    return table, torch.tensor(counts, dtype=torch.int32, device=device)


def check_convolution(compute: Convolution, device: torch.device) -> None:
    """Compare a convolution with that of torch: outputs and gradients, on random voxels, with and without a stride.

    Args:
        compute: to be checked.
        device: to check it on.

    Raises:
        UserError: it gives other numbers.
    """
    generator = torch.Generator().manual_seed(0)
    coords = (torch.rand(2, 12, 12, 12, generator=generator) < 0.2).nonzero().to(device)
    sites, step = Sites(coords, 2), Step((2, 2, 2), (2, 2, 2), (0, 0, 0))
    down = strided_map(sites, step, kernel_cells(step.kernel))[1]
    for pairs in (submanifold_map(sites, kernel_cells((3, 3, 3))), down, down.reversed):
        features = torch.randn(pairs.source_count, 16, generator=generator).to(device)
        weight = torch.randn(len(pairs.counts), 16, 32, generator=generator).to(device)
        factors = torch.randn(pairs.target_count, 32, generator=generator).to(device)
        found, wanted = (_answers(one, features, weight, pairs, factors) for one in (compute, sparse_conv))
        for name, value, reference in zip(("outputs", "gradients of inputs", "of weights"), found, wanted, strict=True):
            error = float((value - reference).abs().max() / reference.abs().max())
            if not error <= _TOLERANCE:
                raise UserError(f"backend of sparse convolutions: {name} differ from those of torch by {error:.1g}")


def _answers(
    compute: Convolution, features: Tensor, weight: Tensor, pairs: KernelMap, factors: Tensor
) -> tuple[Tensor, ...]:
    features, weight = features.clone().requires_grad_(), weight.clone().requires_grad_()
    out = compute(features, weight, pairs)
    return (out.detach(), *torch.autograd.grad((out * factors).sum(), (features, weight)))
