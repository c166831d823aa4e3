"""The total gradient norm, and clipping to it, where parameters live on different meshes.

``torch.nn.utils.clip_grad_norm_`` stacks the norms of all gradients and refuses when these are sharded over different
meshes, as those of split and unsplit layers are.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor, Partial, Replicate


@torch.no_grad()
def clip_gradients(parameters: Iterable[Tensor], limit: float) -> Tensor:
    """Scale all gradients by min(1, limit / (norm + 1e-6)); returns the total L2 norm before that, fp32 scalar.

    Args:
        parameters: plain or distributed; those without gradient are left out. Every rank calls this.
        limit: largest norm; infinity only measures.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = total_norm(gradients)
    if limit != float("inf"):
        scale = torch.clamp(limit / (norm + 1e-6), max=1.0)
        torch._foreach_mul_([local_part(gradient) for gradient in gradients], scale)
    return norm


@torch.no_grad()
def total_norm(tensors: list[Tensor]) -> Tensor:
    """Return the L2 norm of all ``tensors`` together, the same on every rank."""
    kinds: dict[object, list[Tensor]] = {}
    for tensor in tensors:
        key = (tensor.device_mesh, tensor.placements) if isinstance(tensor, DTensor) else None
        kinds.setdefault(key, []).append(tensor)
    if not kinds:
        return torch.zeros(())
    return torch.stack([_square_sum(group) for group in kinds.values()]).sum().sqrt()


def local_part(tensor: Tensor) -> Tensor:
    """Return what this rank holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _square_sum(group: list[Tensor]) -> Tensor:
    """Sum of squares of tensors with one mesh and one way of sharding: summed over the dimensions that shard."""
    norms = torch._foreach_norm([local_part(tensor).float() for tensor in group])
    total = torch.stack(norms).square().sum()
    if isinstance(group[0], DTensor):
        for dim, placement in enumerate(group[0].placements):
            if isinstance(placement, Partial):
                raise RuntimeError("a gradient that is still to be summed over processes has no norm yet")
            if not isinstance(placement, Replicate):
                dist.all_reduce(total, group=group[0].device_mesh.get_group(dim))
    return total
