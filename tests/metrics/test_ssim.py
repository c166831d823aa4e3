import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.metrics.image import ssim
from cosmos_lidar.metrics.pairs import ImagePair
from cosmos_lidar.metrics.ssim import METRIC


def test_mean_over_images():
    generator = torch.Generator().manual_seed(1)
    recorded = torch.rand(3, 3, 12, 12, generator=generator)
    made = recorded + 0.2 * torch.rand(3, 3, 12, 12, generator=generator)
    accumulator = METRIC.start(None)
    accumulator.add(ImagePair(recorded[:2], made[:2]))
    accumulator.add(ImagePair(recorded[2:], made[2:]))
    assert accumulator.result()["ssim"] == pytest.approx(float(ssim(made, recorded).mean()), rel=1e-6)
    assert accumulator.result()["ssim"] < 1.0


def test_images_smaller_than_a_window_are_refused():
    with pytest.raises(DataError, match="images of 4 x 4"):
        METRIC.start(None).add(ImagePair(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)))
