import pytest

from cosmos_lidar.training.config import GuardConfig
from cosmos_lidar.training.guards.loss_spikes import SpikeGuard


def test_a_jump_is_far_above_the_median_of_the_window():
    guard = SpikeGuard(GuardConfig(spike="skip", spike_score=5.0, spike_window=8))
    losses = [1.0, 1.2, 0.8, 1.1]
    assert not any(guard.jumps(loss) for loss in [*losses[:3], 100.0])  # fewer than half a window: all are taken
    guard.load_state_dict({"window": losses, "rollbacks": 0})
    # median 1.05, absolute deviations 0.05 0.15 0.25 0.05: their median is 0.1
    assert guard.score(2.0) == pytest.approx(0.95 / (1.4826 * 0.1))
    assert guard.jumps(1.05 + 5.01 * 0.14826)
    assert not guard.jumps(1.05 + 4.99 * 0.14826)
    assert guard.state_dict()["window"] == [*losses, 1.05 + 4.99 * 0.14826]  # what jumped is not taken
    assert not SpikeGuard(GuardConfig(spike="off")).jumps(1e9)
