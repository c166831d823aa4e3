"""Fill a parallelized network on the meta device: every rank allocates its shards, and reads or computes them alone.

No rank ever holds a whole network, only one whole tensor at a time, of which a memory-mapped file gives the shard.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from cosmos_lidar.parallel.clip import local_part

M = TypeVar("M", bound=nn.Module)


class WeightSource(Protocol):
    """Whole tensors by name, one at a time: from a file, or as a constructor makes them."""

    def __contains__(self, name: str) -> bool:
        """Whether there is a tensor of that name."""

    def read(self, name: str) -> Tensor:
        """Return a tensor, whole, on the CPU; it may be memory-mapped."""

    def release(self, value: Tensor) -> None:
        """Give back the memory of what :meth:`read` returned."""


def materialize(network: nn.Module, device: torch.device | str) -> None:
    """Allocate the parameters that are on the meta device, each rank its shards, without values.

    Args:
        network: parallelized; parameters and buffers that have values keep them, and move to ``device``.
        device: for all of them.
    """
    tied = _tied_names(network)
    network._apply(lambda tensor: _allocated(tensor, device))
    for name, first in tied.items():
        owner, _, attribute = name.rpartition(".")
        setattr(network.get_submodule(owner), attribute, network.get_parameter(first))


@torch.no_grad()
def fill(network: nn.Module, sources: Sequence[WeightSource], without: Collection[str] = ()) -> None:
    """Give parameters and persistent buffers their values, each rank its shards.

    Args:
        network: materialized.
        sources: of whole tensors by the network's names; the first one that has a name gives the value. What none has
            keeps the value that it has.
        without: names that are left out, as a checkpoint gives them their values later.
    """
    for name, target in network.state_dict(keep_vars=True).items():
        source = next((source for source in sources if name in source), None)
        if source is not None and name not in without:
            value = source.read(name)
            local_part(target).copy_(value[local_slices(target)])
            source.release(value)


def with_weights(network: M, sources: Sequence[WeightSource]) -> M:
    """Return a deferred network with its weights, whole, on the current default device."""
    materialize(network, torch.get_default_device())
    fill(network, sources)
    return network


def local_slices(tensor: Tensor) -> tuple[slice, ...]:
    """Return which part of the whole tensor this rank holds; all of a plain one."""
    if not isinstance(tensor, DTensor):
        return tuple(slice(None) for _ in tensor.shape)
    shape, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
    return tuple(slice(start, start + size) for start, size in zip(offset, shape, strict=True))


def local_device(device_type: str) -> torch.device:
    """Return the device of this rank: its own GPU, or the CPU."""
    return torch.device(device_type, torch.cuda.current_device()) if device_type == "cuda" else torch.device("cpu")


def _allocated(tensor: Tensor, device: torch.device | str) -> Tensor:
    return torch.empty_like(tensor, device=device) if tensor.is_meta else tensor.to(device)


def _tied_names(network: nn.Module) -> dict[str, str]:
    """Return the further names of parameters that have several, with the first one."""
    first: dict[int, str] = {}
    tied = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        if first.setdefault(id(parameter), name) != name:
            tied[name] = first[id(parameter)]
    return tied
