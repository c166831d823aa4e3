"""Occupancy decoder of ALSO (Boulch et al. 2023, arXiv 2212.05867): occupancy and intensity from one neighbor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cosmos_lidar.models.sparse.neighbors import Neighbors


class OccupancyDecoder(nn.Module):
    """MLP of a source's latent and the position of the query relative to it; each pair has an output of its own.

    The parameters are named as in the published checkpoints. There is no ReLU before the last layer.

    Args:
        latent_size: L.
        out_channels: the first is the logit of occupancy, the second the intensity.
    """

    def __init__(self, latent_size: int = 128, out_channels: int = 2) -> None:
        super().__init__()
        self.fc_in = nn.Linear(latent_size + 3, latent_size)
        self.mlp_layers = nn.ModuleList(nn.Linear(latent_size, latent_size) for _ in range(2))
        self.fc_out = nn.Linear(latent_size, out_channels)

    def forward(self, latents: Tensor, positions: Tensor, queries: Tensor, pairs: Neighbors) -> Tensor:
        """Return (P, out_channels), a row per pair.

        Args:
            latents: (S, L) of the sources.
            positions: (S, 3) of the sources, meters.
            queries: (Q, 3) meters.
            pairs: P of them.
        """
        size = latents.shape[1]
        by_latent = latents @ self.fc_in.weight[:, :size].t()  # once per source, not per pair
        offsets = queries[pairs.queries] - positions[pairs.sources]
        by_offset = torch.addmm(self.fc_in.bias, offsets.to(by_latent.dtype), self.fc_in.weight[:, size:].t())
        h = by_latent.index_select(0, pairs.sources) + by_offset
        for layer in self.mlp_layers:
            h = layer(h.relu())
        return self.fc_out(h)
