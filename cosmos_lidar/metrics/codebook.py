"""Codebook usage of a discrete tokenizer: perplexity and number of used codes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cosmos_lidar.errors import DataError

_EPS = 1.19e-7  # of the published metric


class CodebookUsage:
    """Counts of every index, over any number of batches; those of several ranks may be added.

    Args:
        size: of the codebook.

    Attributes:
        counts: (size,) int64 on the CPU.
    """

    def __init__(self, size: int) -> None:
        self.counts = torch.zeros(size, dtype=torch.int64)

    def add(self, indices: Tensor) -> None:
        """Count indices of any shape.

        Raises:
            DataError: an index outside the codebook.
        """
        flat = indices.detach().flatten().cpu().long()
        if flat.numel() and not 0 <= int(flat.min()) <= int(flat.max()) < len(self.counts):
            found = f"indices from {int(flat.min())} to {int(flat.max())}"
            raise DataError(found, wanted=f"0 to {len(self.counts) - 1}")
        self.counts += torch.bincount(flat, minlength=len(self.counts))

    def perplexity(self) -> float:
        """Return exp(-sum p log(p + 1.19e-7)) of the relative frequencies p: between 1 and the size of the codebook."""
        share = self.counts.double() / max(int(self.counts.sum()), 1)
        return math.exp(-float((share * (share + _EPS).log()).sum()))

    def used(self) -> int:
        """Return the number of indices that occurred."""
        return int((self.counts > 0).sum())
