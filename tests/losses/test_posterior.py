from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.losses.posterior import gaussian_kl


def test_kl_against_the_published_number_and_by_hand():
    """Latents 2 hash01(384, 55) - 1 as (3, 16, 2, 2, 2); mean = first frame of the first window, logvar = mean / 2."""
    x = np.arange(384, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(55)
    for shift, factor in ((16, 2246822519), (13, 3266489917)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    x ^= x >> np.uint32(16)
    mean = torch.from_numpy(x / 2**31 - 1).view(3, 16, 2, 2, 2)[:1, :, :1]
    assert 1e-6 * gaussian_kl(mean, mean / 2).item() == pytest.approx(1.86002e-7, rel=1e-5)
    assert gaussian_kl(torch.tensor([1.0]), torch.tensor([math.log(4.0)])).item() == pytest.approx(
        0.5 * (1 + 4 - 1 - math.log(4.0)), rel=1e-6
    )
    assert gaussian_kl(torch.zeros(3), torch.zeros(3)) == 0
    with pytest.raises(DataError, match=r"means of \(3,\) and log-variances of \(1,\)"):
        gaussian_kl(torch.zeros(3), torch.zeros(1))
