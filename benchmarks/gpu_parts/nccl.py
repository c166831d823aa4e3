"""Collectives on one card, as NCCL runs them there, and FSDP around a network: right values, and their time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.distributed as dist
from torch import Tensor

from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.parallel.apply import parallelize
from cosmos_lidar.parallel.exchange import exchange_shares, gather_tensors, sum_tensors
from cosmos_lidar.parallel.mesh import make_mesh, mesh_sizes, start_processes
from gpu_parts.common import Options, Row, attempts, loss_of, randomize, seconds_of


def rows(options: Options) -> Iterator[Row]:
    """Yield for each collective, with its gradient, whether it is right, and ms; then for a sharded network."""
    start_processes(options.device)
    group = dist.group.WORLD
    exchanges: dict[str, Callable[[Tensor], Tensor]] = {
        "all-reduce": lambda x: sum_tensors(x, group),
        "all-gather, reduce-scatter": lambda x: gather_tensors(x, group)[0],
        "all-to-all": lambda x: exchange_shares(x, group, 1, 0),
    }
    try:
        works = {name: lambda work=work: measure(options, work) for name, work in exchanges.items()}
        yield from attempts(options, {**works, "FSDP": lambda: sharded(options)})
    finally:
        dist.destroy_process_group()


def measure(options: Options, work: Callable[[Tensor], Tensor]) -> Row:
    """Compare a collective of one rank with its input, forward and backward, and time it."""
    rows = 16 if options.tiny else 1 << 14
    x = torch.randn(rows, 4096, device=options.device, dtype=options.dtype, requires_grad=True)
    out = work(x)
    (gradient,) = torch.autograd.grad(out.reshape(x.shape), x, x.detach())
    right = torch.equal(out.reshape(x.shape), x) and torch.equal(gradient, x)
    _, seconds = seconds_of(lambda: work(x), options.torch_device, 5)
    return {"agree": int(right), "cases": 1, "ms": 1e3 * seconds, "mb": x.nbytes / 1e6}


def sharded(options: Options) -> Row:
    """Compare gradients of a small network with and without FSDP of one rank."""
    gradients = []
    for mesh in (None, make_mesh(mesh_sizes(1, 1, 1, 1, 1), options.device)):
        torch.manual_seed(0)
        with options.torch_device:
            network = randomize(build_dit("faditv2_debug"))
            config = network.config
            x = torch.randn(1, config.in_channels, 2 * config.n_views, 4, 6)
            text = torch.randn(1, 3 * config.n_views, config.crossattn_emb_channels)
        parallelize(network, network.parallel_plan(), mesh)
        loss_of(network(x, torch.zeros(1, device=options.device), text)).backward()
        found = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
        gradients.append({name: grad.full_tensor() if mesh is not None else grad for name, grad in found.items()})
    plain, whole = gradients
    sizes = {name: grad.abs().max().clamp(min=1e-12) for name, grad in plain.items()}
    errors = [float((whole[name] - grad).abs().max() / sizes[name]) for name, grad in plain.items()]
    agree = sum(error < 1e-4 for error in errors)
    return {"agree": agree, "cases": len(errors), "largest_error": max(errors)}
