import pytest

from cosmos_lidar.training.config import OptimConfig
from cosmos_lidar.training.schedule import lr_factor


def test_warm_up_as_published():
    published = OptimConfig(warmup_steps=5000)
    assert [lr_factor(step, published) for step in (0, 2499, 4999, 9999)] == [0.0002, 0.5, 1.0, 1.0]
    assert lr_factor(0, OptimConfig(warmup_steps=0)) == 1.0
    cosine = OptimConfig(warmup_steps=0, decay_until=100)
    assert [lr_factor(step, cosine) for step in (0, 50, 100, 150)] == pytest.approx([1.0, 0.5, 0.0, 0.0])


def test_published_schedule_of_multi_view_training() -> None:
    """LambdaLinear from 1e-6 over 0.25 at step 2000 to 0.1 at step 40000, and no error after it."""
    optim = OptimConfig(warmup_steps=2000, warmup_from=4e-6, decay_until=40_000, decay="linear", decay_to=0.4)
    wanted = {0: 1e-6, 1: 1.259995e-4, 1000: 0.1250005, 2000: 0.25, 10_000: 0.2184211, 21_000: 0.175, 40_000: 0.1}
    assert {step: 0.25 * lr_factor(step, optim) for step in wanted} == pytest.approx(wanted, rel=1e-6)
    assert 0.25 * lr_factor(99_999, optim) == pytest.approx(0.1)
