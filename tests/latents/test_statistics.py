from __future__ import annotations

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.latents.statistics import LatentStatistics


def test_batches_are_the_whole():
    generator = torch.Generator().manual_seed(0)
    values = 1e4 + torch.randn(10, 4, 3, 5, generator=generator) * torch.tensor([1.0, 2, 3, 4]).view(1, 4, 1, 1)
    statistics = LatentStatistics()
    for part in values.split([1, 3, 6]):
        statistics.add(part)
    mean, std = statistics.result()
    flat = values.double().transpose(0, 1).flatten(1)
    assert torch.allclose(mean.double(), flat.mean(1), rtol=1e-7)
    assert torch.allclose(std.double(), flat.std(1, correction=0), rtol=1e-6)
    assert statistics.count == 150


def test_what_has_no_statistics():
    statistics = LatentStatistics()
    with pytest.raises(DataError, match="no latents"):
        statistics.result()
    statistics.add(torch.zeros(1, 2, 3, 3))
    with pytest.raises(DataError, match="channel 0 of the latents never changes"):
        statistics.result()
    with pytest.raises(DataError, match="latents of 3 channels"):
        statistics.add(torch.zeros(1, 3, 3, 3))
    with pytest.raises(DataError, match="not finite"):
        statistics.add(torch.full((1, 2, 3, 3), float("nan")))
