"""Differentiable collectives."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def gather_tensors(x: Tensor, group: dist.ProcessGroup) -> tuple[Tensor, ...]:
    """Return ``x`` of every rank, in rank order; backward sums what all of them did with this one's."""
    return _Gather.apply(x, group).unbind(0)


def gather_rows(x: Tensor, group: dist.ProcessGroup) -> tuple[Tensor, int]:
    """Return (rows of all ranks, the row that those of this rank begin at); ranks may have different numbers of them.

    Backward sums what all ranks did with this one's. Every rank calls this, also one without rows.

    Args:
        x: (n, ...) rows of this rank.
        group: ranks.
    """
    counts = [x.new_zeros(1, dtype=torch.int64) for _ in range(group.size())]
    dist.all_gather(counts, torch.tensor([len(x)], device=x.device), group=group)
    numbers = [int(count) for count in counts]
    padding = x.new_zeros(max(numbers) - len(x), *x.shape[1:])
    parts = gather_tensors(torch.cat([x, padding]), group)
    everyone = torch.cat([part[:number] for part, number in zip(parts, numbers, strict=True)])
    return everyone, sum(numbers[: group.rank()])


def sum_tensors(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """Return the sum of ``x`` over the ranks; backward sums the gradients."""
    return _Sum.apply(x, group)


def exchange_shares(x: Tensor, group: dist.ProcessGroup, scatter: int, gather: int) -> Tensor:
    """Divide dimension ``scatter`` among the ranks and put ``gather`` together; backward the other way round."""
    return _AllToAll.apply(x, group, scatter, gather)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        out = x.new_empty(group.size(), *x.shape)
        dist.all_gather_into_tensor(out.flatten(0, 1) if x.ndim else out, x.contiguous(), group=group)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        gradient = gradient.contiguous()
        own = gradient.new_empty(gradient.shape[1:])
        dist.reduce_scatter_tensor(own, gradient.flatten(0, 1) if own.ndim else gradient, group=ctx.group)
        return own, None


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        out = x.clone()
        dist.all_reduce(out, group=group)
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        total = gradient.clone()
        dist.all_reduce(total, group=ctx.group)
        return total, None


class _AllToAll(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup, scatter: int, gather: int) -> Tensor:
        ctx.group, ctx.scatter, ctx.gather = group, scatter, gather
        return _exchange(x, group, scatter, gather)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _exchange(gradient, ctx.group, ctx.gather, ctx.scatter), None, None, None


def _exchange(x: Tensor, group: dist.ProcessGroup, scatter: int, gather: int) -> Tensor:
    shares = torch.stack(x.chunk(group.size(), dim=scatter)).contiguous()
    received = torch.empty_like(shares)
    dist.all_to_all_single(received, shares, group=group)
    return torch.cat(received.unbind(0), dim=gather)
