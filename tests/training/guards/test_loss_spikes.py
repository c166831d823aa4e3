from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from cosmos_lidar.training.config import GuardConfig
from cosmos_lidar.training.guards.loss_spikes import SpikeGuard

Draw = Callable[[np.random.Generator, int], np.ndarray]
LOSSES: dict[str, Draw] = {
    "log-normal, sigma 0.5": lambda rng, n: np.exp(0.5 * rng.normal(size=n)),
    "log-normal, sigma 1": lambda rng, n: np.exp(rng.normal(size=n)),
    "Student t, 3 degrees of freedom": lambda rng, n: 1 + 0.05 * rng.standard_t(3, size=n),
    "falling, normal": lambda rng, n: (1 + 0.05 * rng.normal(size=n)) / (1 + np.arange(n) / 500),
}


def guard_after(losses: list[float], **options: object) -> SpikeGuard:
    guard = SpikeGuard(GuardConfig(spike="skip", **options))
    assert not any(guard.jumps(loss) for loss in losses)
    return guard


def test_a_score_is_of_the_median_of_the_window() -> None:
    guard = guard_after([1.0, 1.2, 0.8, 1.1], spike_window=8)
    # median 1.05, absolute deviations 0.05 0.15 0.25 0.05: their median is 0.1
    assert guard.score(2.0) == pytest.approx(0.95 / (1.4826 * 0.1))
    assert not SpikeGuard(GuardConfig(spike="off")).jumps(1e9)


def test_nothing_is_refused_before_half_a_window() -> None:
    assert not SpikeGuard(GuardConfig(spike="skip", spike_window=8)).jumps(1e9)
    guard = guard_after([1.0, 1.2, 0.8, 1.1], spike_window=8)
    before = guard.state_dict()["window"]
    assert guard.jumps(1e9)
    assert guard.state_dict()["window"] == before  # what jumped is not taken


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("seeds", "steps"), [(2, 10_000), (60, 300)])
def test_sound_losses_are_refused_less_than_once_in_ten_thousand_steps(name: str, seeds: int, steps: int) -> None:
    refused = 0
    for seed in range(seeds):
        guard = SpikeGuard(GuardConfig(spike="skip"))
        refused += sum(guard.jumps(float(loss)) for loss in LOSSES[name](np.random.default_rng(seed), steps))
    assert refused / (seeds * steps) < 1e-4


@pytest.mark.parametrize("name", ["log-normal, sigma 0.5", "falling, normal"])
def test_a_loss_that_jumps_to_a_hundredfold_is_refused(name: str) -> None:
    guard, losses = SpikeGuard(GuardConfig(spike="skip")), LOSSES[name](np.random.default_rng(7), 600)
    for loss in losses:
        guard.jumps(float(loss))
    assert guard.jumps(100.0 * float(np.median(losses[-100:])))


def test_a_level_that_stays_is_accepted_after_so_many_refusals(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    guard = SpikeGuard(GuardConfig(spike="skip", most_skips=20))
    losses = np.concatenate([1 + 0.01 * rng.normal(size=500), 2 + 0.01 * rng.normal(size=500)])
    refused = [guard.jumps(float(loss)) for loss in losses]
    assert sum(refused) == sum(refused[500:520]) == 20
    assert "the loss jumped in 21 steps in a row, from about 0.9996 to 2.001: taken as its new level" in caplog.text


def test_a_single_sound_loss_between_them_begins_the_count_again() -> None:
    guard = guard_after([1.0, 1.2, 0.8, 1.1] * 20, most_skips=2, spike_window=8)
    assert [guard.jumps(loss) for loss in (90.0, 91.0, 1.0, 92.0, 93.0, 94.0)] == [True, True, False, True, True, False]


def test_a_resumed_guard_decides_as_the_one_that_was_saved() -> None:
    losses = [float(loss) for loss in LOSSES["log-normal, sigma 1"](np.random.default_rng(3), 2000)]
    whole, first, second = (SpikeGuard(GuardConfig(spike="skip", spike_score=1.0)) for _ in range(3))
    wanted = [whole.jumps(loss) for loss in losses]
    found = [first.jumps(loss) for loss in losses[:700]]
    second.load_state_dict(first.state_dict())
    assert found + [second.jumps(loss) for loss in losses[700:]] == wanted
    old = SpikeGuard(GuardConfig(spike="skip"))
    old.load_state_dict({"window": [1.0, 2.0], "rollbacks": 2})  # of a checkpoint of an older version
    assert (old.state_dict()["window"], old.rollbacks) == ([1.0, 2.0], 2)
