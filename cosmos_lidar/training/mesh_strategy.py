"""The mesh under Lightning: starts the ranks, makes the mesh, leaves the rest to the model."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from lightning.pytorch.strategies import ModelParallelStrategy

from cosmos_lidar.parallel.mesh import MeshSizes, make_mesh, process_count


class MeshStrategy(ModelParallelStrategy):
    """Lightning's strategy for models that shard themselves, over a mesh with our four dimensions.

    The model finds the mesh in ``configure_model``. Lightning's own saving and loading is not used.

    Args:
        sizes: of the mesh; their product is the number of ranks.
        on_gpu: the ranks communicate through NCCL (and gloo for what is on the CPU), else through gloo alone.
    """

    def __init__(self, sizes: MeshSizes, on_gpu: bool) -> None:
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        super().__init__(sizes.data, sizes.context * sizes.tensor, process_group_backend=backend)
        self.sizes = sizes

    def setup_environment(self) -> None:
        """Join the process group and make the mesh."""
        super(ModelParallelStrategy, self).setup_environment()
        self._setup_distributed()
        self._device_mesh = make_mesh(self.sizes, self.root_device.type)
        assert self.lightning_module is not None  # the trainer has connected it
        self.lightning_module._device_mesh = self._device_mesh

    @property
    def distributed_sampler_kwargs(self) -> dict[str, Any]:
        """Return which share of the data this rank reads."""
        return {"num_replicas": self.sizes.data, "rank": self.sizes.data_rank(self.global_rank)}


def cluster_environment() -> LightningEnvironment | TorchElasticEnvironment:
    """Return how to find the other ranks: by RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT.

    Named outright, as Lightning would guess from the variables of a batch system, which need not agree with these.
    """
    return TorchElasticEnvironment() if process_count() > 1 else LightningEnvironment()
