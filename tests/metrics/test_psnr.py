import math

import pytest
import torch

from cosmos_lidar.metrics.image import psnr
from cosmos_lidar.metrics.pairs import ImagePair
from cosmos_lidar.metrics.psnr import METRIC


def test_mean_over_images_and_that_of_the_whole_video():
    recorded = torch.zeros(2, 3, 8, 8)
    made = recorded.clone()
    made[0] += 20 / 127.5
    made[1] += 40 / 127.5
    accumulator = METRIC.start(None)
    for i in range(2):
        accumulator.add(ImagePair(recorded[i : i + 1], made[i : i + 1]))
    found = accumulator.result()
    assert found["psnr"] == pytest.approx(float(psnr(made, recorded).mean()), rel=1e-6)
    assert found["psnr_video"] == pytest.approx(10 * math.log10(255**2 / 1000), rel=1e-6)  # (20^2 + 40^2) / 2
    assert found["psnr_video"] < found["psnr"]


def test_merged_accumulators_are_one():
    generator = torch.Generator().manual_seed(0)
    images = [torch.rand(1, 3, 8, 8, generator=generator) for _ in range(4)]
    together, first, second = (METRIC.start(None) for _ in range(3))
    for accumulator, pair in ((first, images[:2]), (second, images[2:])):
        accumulator.add(ImagePair(*pair))
        together.add(ImagePair(*pair))
    first.merge(second)
    assert first.result() == together.result()
