"""Training loss of video tokenizers: weighted sum of color, perceptual, Gram and flow terms."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError
from cosmos_lidar.losses.flow import FlowLoss
from cosmos_lidar.losses.perceptual import PerceptualLoss
from cosmos_lidar.losses.schedule import Weight

TERMS = ("color", "perceptual", "gram", "flow")


class VideoLoss(nn.Module):
    """Color, perceptual, Gram and flow terms; terms without weight are not computed and need no network.

    Each term is a mean over the batch, as published: ``color`` of |x - y| over all values, ``perceptual`` over frames,
    ``gram`` over clips, ``flow`` over the flow vectors. There is no KL term: continuous latents of this family are
    deterministic.

    Args:
        weights: of the terms in :data:`TERMS`; those left out are not used.
        perceptual: for ``perceptual`` and ``gram``.
        flow: for ``flow``.

    Attributes:
        names: terms in use, in the order of :data:`TERMS`.

    Raises:
        ValueError: a term without its network.
    """

    def __init__(
        self, weights: Mapping[str, Weight], perceptual: PerceptualLoss | None = None, flow: FlowLoss | None = None
    ) -> None:
        super().__init__()
        self.weights = {name: weights[name] for name in TERMS if name in weights and weights[name].used}
        self.names = tuple(self.weights)
        needs = {"perceptual": perceptual, "gram": perceptual, "flow": flow}
        if any(name in self.weights and network is None for name, network in needs.items()):
            raise ValueError(f"terms {self.names} and not the networks that they need")
        self.perceptual, self.flow = perceptual, flow

    def forward(self, reconstruction: Tensor, video: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted sum, and each term in use before weighting.

        Args:
            reconstruction: (B, 3, T, H, W) in [-1, 1].
            video: of the same shape.
            step: optimizer steps so far.

        Raises:
            DataError: shapes that differ, or that a term cannot take.
        """
        if reconstruction.shape != video.shape or video.ndim != 5:
            shapes = f"{tuple(reconstruction.shape)} and {tuple(video.shape)}"
            raise DataError(f"clips of {shapes}", wanted="two of the same shape (B, 3, T, H, W)")
        parts, total = {}, reconstruction.new_zeros(())
        for name in self.names:
            weight = self.weights[name].at(step)
            parts[name] = self._term(name, reconstruction, video) if weight else torch.zeros_like(total)
            total = total + weight * parts[name]
        return total, parts

    def _term(self, name: str, reconstruction: Tensor, video: Tensor) -> Tensor:
        if name == "color":
            return (reconstruction - video).abs().mean()
        if name == "flow":
            return self.flow(reconstruction, video)
        made, seen = (x.transpose(1, 2).flatten(0, 1) for x in (reconstruction, video))
        if name == "gram":
            return self.perceptual.gram(made, seen, frames=video.shape[2]).mean()
        return self.perceptual(made, seen).mean()
