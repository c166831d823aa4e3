"""Cosine loss of features and those of another network, for distillation and representation alignment."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def cosine_loss(features: Tensor, wanted: Tensor) -> tuple[Tensor, int]:
    """Return (mean of 1 - cosine over the rows, their number); 0 with a gradient of 0 where there is none.

    Args:
        features: (N, D).
        wanted: (N, D), what they are to point along; without a gradient.
    """
    cosines = F.cosine_similarity(features.float(), wanted.detach().float(), dim=1)
    return (1 - cosines).sum() / max(len(cosines), 1), len(cosines)


def grid_cosine_loss(features: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean over samples of 1 - cosine, of each over the places where something is wanted.

    Samples count alike, so that the mean over ranks is that over all samples. One without any such place counts 0.

    Args:
        features: (B, rows, columns, D).
        wanted: (B, rows, columns, D); zeros where nothing is.
    """
    there = wanted.detach().flatten(1, 2).abs().amax(-1) > 0
    cosines = F.cosine_similarity(features.float(), wanted.detach().float(), dim=-1).flatten(1, 2)
    return (((1 - cosines) * there).sum(1) / there.sum(1).clamp(min=1)).mean()
