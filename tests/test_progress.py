from __future__ import annotations

from types import SimpleNamespace

import pytest

from cosmos_lidar import progress
from cosmos_lidar.progress import Meter, track


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(progress, "logger", SimpleNamespace(info=lambda text, *values: found.append(text % values)))
    return found


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    return clock


def test_items_pass_through_and_are_counted(lines: list[str], now: list[float]) -> None:
    assert list(track("abc", "read", "letters")) == ["a", "b", "c"]
    assert lines == ["read: 3 letters in 0.0 s (3000000000.0 letters/s)"]
    assert list(track(iter("ab"), "read")) == ["a", "b"]  # of unknown length


def test_a_line_now_and_then_with_the_time_left(lines: list[str], now: list[float]) -> None:
    with Meter("write", "frames", 10) as meter:
        now[0] += 10.0
        meter.advance(1)
        assert not lines
        now[0] += 10.0
        meter.advance(3, "loss 0.5")
    assert lines[0] == "write: 4/10 frames, 0.2 frames/s, 30 s left loss 0.5"
    assert lines[1] == "write: 4 frames in 20.0 s (0.2 frames/s)"


def test_nothing_is_summed_up_after_an_error(lines: list[str], now: list[float]) -> None:
    with pytest.raises(ValueError, match="broken"), Meter("write", "frames", 10):
        raise ValueError("broken")
    assert not lines
