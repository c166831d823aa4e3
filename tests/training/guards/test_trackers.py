from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

import pytest

from cosmos_lidar.training.guards import trackers
from cosmos_lidar.training.guards.trackers import guard_trackers, hand_over


class Tracker:
    def __init__(self) -> None:
        self.full, self.values, self.asked, self.log_dir = False, {}, 0, ""

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        self.asked += 1
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.values[step] = values

    def finalize(self, status: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_tracker_that_fails_rests_for_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [100.0]
    monkeypatch.setattr(trackers, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(trackers, "_rests_until", {})
    tracker = Tracker()
    for step in range(10):
        tracker.full = 2 <= step < 5
        hand_over(tracker, {"loss": 1.0}, step)
        now[0] += 14.0
    assert list(tracker.values) == [0, 1, 7, 8, 9]
    assert tracker.asked == 6
    assert caplog.text.count("Tracker failed (OSError: [Errno 28]") == 1


def test_an_error_on_closing_a_log_is_not_the_end_of_a_run(caplog: pytest.LogCaptureFixture) -> None:
    tracker: Any = Tracker()
    guard_trackers([tracker])
    tracker.finalize("failed")
    assert "Tracker failed" in caplog.text
    assert "metrics.csv has all values" in caplog.text
