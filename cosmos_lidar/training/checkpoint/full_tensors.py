"""Full tensors, gathered from their shards."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.distributed.tensor import DTensor

from cosmos_lidar.parallel.ranks import is_first


def full_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return whole tensors on the CPU, on rank 0 only; all ranks call this.

    They are gathered one at a time, so that no process but the first ever holds more than one of them.
    """
    full: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        own = tensor.detach()
        whole = own.full_tensor() if isinstance(own, DTensor) else own
        if is_first():
            full[name] = whole.to("cpu", copy=True).contiguous()
    return full
