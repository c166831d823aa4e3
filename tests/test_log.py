from __future__ import annotations

import subprocess
import sys

import pytest

from cosmos_lidar import log

PROGRAM = """
import sys
from cosmos_lidar.log import configure, logger
for _ in range(2):
    configure(verbose={verbose})
logger.debug("a detail")
logger.info("[not markup] once")
assert len(logger.handlers) == 1 and not logger.propagate
"""


def run(verbose: bool) -> subprocess.CompletedProcess:
    code = PROGRAM.format(verbose=verbose)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_lines_go_to_standard_error_once() -> None:
    done = run(verbose=False)
    assert done.stdout == ""
    assert done.stderr.count("[not markup] once") == 1
    assert "a detail" not in done.stderr
    assert "a detail" in run(verbose=True).stderr


def test_a_warning_that_comes_again_and_again_is_logged_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [1000.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(log, "_said", {})
    for _ in range(5):
        log.warn_once_a_minute("a.csv", "%s is full: 100%%", "a.csv")
        now[0] += 14.0
    log.warn_once_a_minute("b.csv", "%s is full", "b.csv")
    assert [record.getMessage() for record in caplog.records] == ["a.csv is full: 100%", "b.csv is full"]
    log.warn_once_a_minute("a.csv", "%s is full: 100%%", "a.csv")
    again = "a.csv is full: 100% (4 more times since the last such line)"
    assert [record.getMessage() for record in caplog.records][2:] == [again]
