from __future__ import annotations

import pytest

from cosmos_lidar.training.measure import step_clock
from cosmos_lidar.training.measure.step_clock import PARTS, StepClock


def test_means_over_the_steps_since_the_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr(step_clock.time, "perf_counter", lambda: now[0])
    clock = StepClock()

    def lap(seconds: float, part: str | None) -> None:
        now[0] += seconds
        clock.lap(part)

    for data_s in (1.0, 3.0):
        lap(data_s, "data_s")
        lap(0.5, "compute_s")
        lap(100.0, None)  # validation counts nowhere
        clock.steps += 1
    assert clock.read() == pytest.approx({"data_s": 2.0, "compute_s": 0.5, "optimizer_s": 0.0, "save_s": 0.0})
    assert clock.read() == dict.fromkeys(PARTS, 0.0)
