"""Losses of semantic segmentation: cross-entropy and Lovasz-softmax (Berman et al. 2018, arXiv 1705.08790)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def segmentation_loss(logits: Tensor, classes: Tensor, ignore: int = 0) -> Tensor:
    """Return the mean cross-entropy over the points with a class; 0 where no point has one.

    Args:
        logits: (N, C).
        classes: (N,) int64.
        ignore: class of points that do not count.
    """
    total = F.cross_entropy(logits.float(), classes, ignore_index=ignore, reduction="sum")
    return total / (classes != ignore).sum().clamp(min=1)


def lovasz_softmax(logits: Tensor, classes: Tensor, ignore: int = 0) -> Tensor:
    """Return the Lovasz extension of 1 - IoU, the mean over the classes that are there; 0 where none is.

    Args:
        logits: (N, C).
        classes: (N,) int64.
        ignore: class of points that do not count.
    """
    counted = classes != ignore
    probabilities, truth = logits.float().softmax(1)[counted], classes[counted]
    terms = []
    for label in truth.unique().tolist():
        found = (truth == label).float()
        errors, order = (found - probabilities[:, label]).abs().sort(descending=True)
        terms.append(errors @ jaccard_steps(found[order]))
    return torch.stack(terms).mean() if terms else probabilities.sum() * 0


def jaccard_steps(found: Tensor) -> Tensor:
    """Return (N,) by how much each point in turn raises the Jaccard loss, if all before it are wrong as well.

    Args:
        found: (N,) 1 for points of the class, 0 for others, in the order of falling errors.
    """
    total = found.sum()
    intersection = total - found.cumsum(0)
    union = total + (1 - found).cumsum(0)
    loss = 1 - intersection / union
    return torch.cat([loss[:1], loss[1:] - loss[:-1]])
