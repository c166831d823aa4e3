"""What the NeMo models of sparse backbones have in common: statistics and means over all ranks, counted voxels."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist

from cosmos_lidar.parallel.batch_norm import synchronize_batch_norm
from cosmos_lidar.parallel.ranks import mean_over_ranks
from cosmos_lidar.training.model import TrainedModel


class SparseModel(TrainedModel):
    """Base of models that train a sparse backbone: batch norm has the statistics of the voxels of all ranks."""

    item_name = "voxels"
    flops_unknown = "they depend on the voxels of each batch"

    @property
    def trains_batch_norm(self) -> bool:
        """Whether batch norm takes the statistics of batches; otherwise it keeps those of the weights."""
        return True

    def parallelize(self) -> None:
        """Let all ranks share the statistics of batch norm, and parallelize the network."""
        if self._device_mesh is not None and dist.get_world_size() > 1 and self.trains_batch_norm:
            everyone = dist.group.WORLD
            assert everyone is not None
            synchronize_batch_norm(self.network, everyone)
        super().parallelize()

    def items_of(self, batch: Any) -> int:
        """Return the voxels of a batch."""
        return len(batch.coords.values)

    def share_of(self, count: int) -> float:
        """Return what a mean over ``count`` rows is multiplied by, so that the mean over ranks is that of all rows."""
        mean = mean_over_ranks(float(count), self.device)
        return count / mean if mean else 1.0
