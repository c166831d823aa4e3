from __future__ import annotations

import numpy as np
import pytest
import torch

from cosmos_lidar.models.tokenizer.wavelets import HaarPatcher2d, HaarUnpatcher2d
from tests.models.tokenizer.reference import VECTORS


@pytest.mark.parametrize(
    ("case", "source", "patch"), [("2d_p2", "2d_in", 2), ("2d_p4", "2d_in", 4), ("2d_rgb_p4", "2d_rgb_in", 4)]
)
def test_haar_patches(case: str, source: str, patch: int):
    x = torch.from_numpy(VECTORS[f"haar/{source}"])
    bands = HaarPatcher2d(patch)(x)
    assert np.abs(bands.numpy() - VECTORS[f"haar/{case}"]).max() < 2e-6
    assert torch.allclose(HaarUnpatcher2d(patch)(bands), x, atol=4e-6)


def test_haar_band_order_of_a_ramp():
    bands = HaarPatcher2d(4)(torch.arange(48.0).view(1, 3, 4, 4)).flatten()
    wanted = torch.zeros(48)
    wanted[:3], wanted[3:6], wanted[6:9] = torch.tensor([7.5, 23.5, 39.5]), -2.0, -0.5
    wanted[12:15], wanted[24:27] = -4.0, -1.0
    assert torch.allclose(bands, wanted, atol=1e-5)


def test_haar_in_bfloat16_has_the_gain_of_its_taps():
    # 0.70703125, the nearest to the root of one half: the published bfloat16 networks were trained with it.
    one = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    patcher = HaarPatcher2d(2)
    patcher.wavelets = patcher.wavelets.bfloat16()
    assert patcher(one)[0, 0].item() == pytest.approx((0.70703125 * 2**0.5) ** 2, rel=1e-12)
