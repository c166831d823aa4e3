"""Losses of the occupancy pretext task of ALSO: binary cross-entropy of occupancy and L1 of intensity, over pairs."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from cosmos_lidar.models.sparse.neighbors import Neighbors


class OccupancyLoss(NamedTuple):
    """Both terms, unweighted; 0 (with a gradient of 0) where no pair counts.

    Attributes:
        occupancy: mean of BCE with logits over all pairs.
        intensity: mean of |predicted - intensity| over the pairs of queries that have one.
    """

    occupancy: Tensor
    intensity: Tensor


def occupancy_loss(predicted: Tensor, pairs: Neighbors, occupied: Tensor, intensities: Tensor) -> OccupancyLoss:
    """Return the losses of a batch; queries without a neighbor count nothing.

    Args:
        predicted: (P, 2) logit of occupancy, and intensity, of each pair.
        pairs: of queries and sources.
        occupied: (Q,) 0 or 1 of each query.
        intensities: (Q, 1) of each query; below 0: none.
    """
    predicted = predicted.float()
    target = occupied[pairs.queries].to(predicted.dtype)
    wanted = intensities[pairs.queries, 0].to(predicted.dtype)
    has = wanted >= 0
    bce = F.binary_cross_entropy_with_logits(predicted[:, 0], target, reduction="sum")
    error = torch.where(has, (predicted[:, 1] - wanted).abs(), torch.zeros_like(wanted)).sum()
    return OccupancyLoss(bce / max(len(target), 1), error / has.sum().clamp(min=1))


def pair_counts(predicted: Tensor, pairs: Neighbors, occupied: Tensor) -> Tensor:
    """Return (2, 2) int64 counts of pairs: rows are the truth, columns the prediction (sigmoid above 0.5).

    Args:
        predicted: (P, 2), see :func:`occupancy_loss`.
        pairs: of queries and sources.
        occupied: (Q,) 0 or 1 of each query.
    """
    guess = (predicted[:, 0] > 0).long()
    return torch.bincount(2 * occupied[pairs.queries].long() + guess, minlength=4).view(2, 2)
