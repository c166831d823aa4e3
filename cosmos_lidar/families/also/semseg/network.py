"""Network of semantic segmentation: a sparse backbone whose last layer gives the scores of the classes."""

from __future__ import annotations

from torch import Tensor, nn

from cosmos_lidar.models.plan import ParallelPlan
from cosmos_lidar.models.sparse import SparseTensor
from cosmos_lidar.models.sparse.backbone import Backbone


class SegmentationNetwork(nn.Module):
    """Backbone with one output per class; parameters are ``backbone.*``, the last layer ``backbone.classifier.*``.

    Args:
        backbone: with as many outputs as classes.
        linear_probing: train the last layer alone; all others stay in eval mode.
    """

    def __init__(self, backbone: Backbone, linear_probing: bool = False) -> None:
        super().__init__()
        self.backbone, self.linear_probing = backbone, linear_probing
        if linear_probing:
            for name, parameter in backbone.named_parameters():
                parameter.requires_grad_(name.startswith("classifier."))
        self.train()

    def train(self, mode: bool = True) -> SegmentationNetwork:
        """Set training mode; of linear probing none but the last layer's."""
        super().train(mode)
        if self.linear_probing:
            self.backbone.train(False)
        return self

    def forward(self, voxels: Tensor, feats: Tensor, voxel_of_point: Tensor, clouds: int) -> Tensor:
        """Return (N, classes) scores of points: those of their voxels.

        Args:
            voxels: (V, 4) cloud, x, y, z.
            feats: (V, C).
            voxel_of_point: (N,) row of ``voxels`` of each point.
            clouds: in the batch; some may be empty.

        Raises:
            DataError: no voxels.
        """
        return self.backbone(SparseTensor(voxels, feats, clouds))[voxel_of_point]

    def parallel_plan(self) -> ParallelPlan:
        """Return the plan: sparse tensors stay within one FSDP unit, which takes and gives plain tensors."""
        blocks = tuple(f"backbone.{name}" for name in self.backbone.blocks)
        return ParallelPlan(blocks=blocks, units=("backbone.classifier",), casts_inputs=False)
