"""Tensor parallel layers with low-rank updates: the update is split as the layer is."""

from __future__ import annotations

from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import Placement, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel

from cosmos_lidar.models.dit.lora import A, B


class LoraColwise(ColwiseParallel):
    """Split by outputs: W and B over their rows; A is whole on every rank, its gradient summed over ranks."""

    def _partition_linear_fn(self, name: str, module: nn.Module, device_mesh: DeviceMesh) -> None:
        _distribute(module, device_mesh, {}, Replicate() if name.startswith(f"{A}.") else Shard(0))


class LoraRowwise(RowwiseParallel):
    """Split by inputs: W and A over their columns; B and the bias are whole on every rank."""

    def _partition_linear_fn(self, name: str, module: nn.Module, device_mesh: DeviceMesh) -> None:
        _distribute(module, device_mesh, {"bias": Replicate()}, Replicate() if name.startswith(f"{B}.") else Shard(1))


def _distribute(module: nn.Module, mesh: DeviceMesh, places: dict[str, Placement], other: Placement) -> None:
    """Distribute the parameters of a layer, or of a factor of one of its adapters (``lora_A.NAME``)."""
    for name, parameter in list(module.named_parameters(recurse=False)):
        split = distribute_tensor(parameter, mesh, [places.get(name, other)])
        module.register_parameter(name, nn.Parameter(split, parameter.requires_grad))
