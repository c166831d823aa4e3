from __future__ import annotations

import math

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.metrics.codebook import CodebookUsage


def test_codebook_usage_adds_up_over_batches():
    usage = CodebookUsage(8)
    usage.add(torch.tensor([[0, 1], [2, 3]], dtype=torch.int32))
    usage.add(torch.tensor([0, 1, 2, 3]))
    assert usage.perplexity() == pytest.approx(4.0, rel=1e-5)
    assert usage.used() == 4
    usage.add(torch.full((8,), 5))
    shares = [1 / 8] * 4 + [1 / 2]
    assert usage.perplexity() == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)), rel=1e-5)
    with pytest.raises(DataError, match=r"indices from 0 to 8.*0 to 7"):
        usage.add(torch.tensor([0, 8]))
