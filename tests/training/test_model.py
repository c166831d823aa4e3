import pytest

from cosmos_lidar.training.config import OptimConfig
from cosmos_lidar.training.model import lr_factor


def test_warm_up_as_published():
    published = OptimConfig(warmup_steps=5000)
    assert [lr_factor(step, published) for step in (0, 2499, 4999, 9999)] == [0.0002, 0.5, 1.0, 1.0]
    assert lr_factor(0, OptimConfig(warmup_steps=0)) == 1.0
    cosine = OptimConfig(warmup_steps=0, decay_until=100)
    assert [lr_factor(step, cosine) for step in (0, 50, 100, 150)] == pytest.approx([1.0, 0.5, 0.0, 0.0])
