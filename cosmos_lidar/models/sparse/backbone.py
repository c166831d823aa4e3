"""What all sparse backbones have in common: voxels in, one feature per voxel out."""

from __future__ import annotations

from torch import Tensor, nn

from cosmos_lidar.models.plan import ParallelPlan
from cosmos_lidar.models.sparse.tensor import SparseTensor


class Backbone(nn.Module):
    """A network from a sparse tensor to one feature per voxel.

    Attributes:
        name: of :func:`build_backbone`.
        in_channels: features of a voxel.
        out_channels: of the output.
        blocks: names of the modules that are run one after the other.
    """

    name: str
    in_channels: int
    out_channels: int
    blocks: tuple[str, ...]

    def forward(self, x: SparseTensor) -> Tensor:
        """Return (V, out_channels), a row per voxel of ``x`` in its order.

        Raises:
            UserError: another number of channels.
        """
        raise NotImplementedError

    def parallel_plan(self) -> ParallelPlan:
        """Return the plan for parallel training: blocks, no split of samples."""
        return ParallelPlan(blocks=self.blocks)
