"""Network of ALSO's pretext task: a sparse backbone, and a decoder that predicts occupancy at query points."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from cosmos_lidar.families.also.config import AlsoModelConfig
from cosmos_lidar.models.plan import ParallelPlan
from cosmos_lidar.models.sparse import SparseTensor
from cosmos_lidar.models.sparse.backbone import Backbone
from cosmos_lidar.models.sparse.neighbors import Neighbors, ball_neighbors
from cosmos_lidar.models.sparse.occupancy_decoder import OccupancyDecoder
from cosmos_lidar.models.sparse.second import BevCells, Second, bev_cells


class Prediction(NamedTuple):
    """What the decoder predicts.

    Attributes:
        values: (P, 2) logit of occupancy and intensity of each pair.
        pairs: of queries and the points, or BEV cells, that they are predicted from.
        features: (V, L) of voxels; of SECOND (B, L, y cells, x cells), its bird's-eye-view map.
        image: (M, D) image features of the points that were asked for; None without distillation.
    """

    values: Tensor
    pairs: Neighbors
    features: Tensor
    image: Tensor | None = None


class PretextNetwork(nn.Module):
    """Backbone and occupancy decoder; parameters are ``backbone.*`` and ``decoder.*``, as in ALSO's checkpoints.

    With distillation there is a linear layer to image features, ``image_head.*``.

    Args:
        backbone: with ``latent_size`` outputs.
        config: of the model.
    """

    def __init__(self, backbone: Backbone, config: AlsoModelConfig) -> None:
        super().__init__()
        self.backbone, self.decoder = backbone, OccupancyDecoder(config.latent_size)
        self.config, distillation = config, config.distillation
        channels = distillation.channels
        self.image_head = nn.Linear(config.latent_size, channels) if distillation.weight else None

    def forward(
        self,
        voxels: Tensor,
        feats: Tensor,
        points: Tensor,
        point_clouds: Tensor,
        voxel_of_point: Tensor,
        queries: Tensor,
        query_clouds: Tensor,
        clouds: int,
        seed: int,
        image_rows: Tensor | None = None,
    ) -> Prediction:
        """Return predictions at queries, one for each neighbor of a query.

        Args:
            voxels: (V, 4) cloud, x, y, z.
            feats: (V, C).
            points: (N, 3) meters.
            point_clouds: (N,) cloud of each point.
            voxel_of_point: (N,) row of ``voxels`` of each point; not used by SECOND.
            queries: (Q, 3) meters.
            query_clouds: (Q,) cloud of each query.
            clouds: in the batch; some may be empty.
            seed: of the neighbors that are chosen.
            image_rows: (M,) points whose image features are wanted, with distillation.

        Raises:
            DataError: no voxels.
        """
        x = SparseTensor(voxels, feats, clouds)
        if isinstance(self.backbone, Second):
            features = self.backbone.bev(x)
            sources = bev_cells(features, self.config.spatial_extent)
        else:
            features = self.backbone(x)
            sources = BevCells(features[voxel_of_point], points, point_clouds)
        pairs = self._neighbors(queries, query_clouds, sources, seed)
        image = None
        if self.image_head is not None and image_rows is not None:
            image = self.image_head(sources.latents[image_rows])
        return Prediction(self.decoder(sources.latents, sources.positions, queries, pairs), pairs, features, image)

    @torch.no_grad()
    def _neighbors(self, queries: Tensor, query_clouds: Tensor, sources: BevCells, seed: int) -> Neighbors:
        config = self.config
        return ball_neighbors(
            queries,
            query_clouds,
            sources.positions,
            sources.clouds,
            config.radius,
            config.most_neighbors,
            config.neighbors,
            columns=config.on_grid,
            generator=torch.Generator(queries.device).manual_seed(seed),
        )

    def parallel_plan(self) -> ParallelPlan:
        """Return the plan: sparse tensors stay within one FSDP unit, which takes and gives plain tensors."""
        blocks = tuple(f"backbone.{name}" for name in self.backbone.blocks)
        heads = ("decoder",) if self.image_head is None else ("decoder", "image_head")
        return ParallelPlan(blocks=(*blocks, "decoder"), units=heads, casts_inputs=False)
