"""Plugin: CPU time of each test, its child processes included (`pytest --cpu=20` lists the 20 most expensive).

Wall-clock durations depend on what else the machine does; CPU time says which tests are worth making cheaper.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

_KEY = "cpu_s"
_elsewhere = 0.0


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its finished children."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages) + _elsewhere


def add_elsewhere(seconds: float) -> None:
    """Count the CPU seconds of processes that worked for this one and are not its children."""
    global _elsewhere
    _elsewhere += seconds


class CpuTimes:
    """Adds the CPU time of every phase of a test to its report."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Start counting before the test's fixtures are set up."""
        self._start = cpu_seconds()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        """Count up to the end of the phase that is reported."""
        report = yield
        now = cpu_seconds()
        report.user_properties = [*report.user_properties, (_KEY, now - self._start)]
        self._start = now
        return report


def add_option(parser: pytest.Parser) -> None:
    """Add ``--cpu=N``."""
    parser.addoption("--cpu", type=int, metavar="N", help="list the N tests with the most CPU time, children included")


def summarize(terminal: pytest.TerminalReporter, count: int) -> None:
    """Print the tests with the most CPU time, and the sum."""
    seconds: dict[str, float] = {}
    for reports in terminal.stats.values():
        for report in reports:
            for key, value in getattr(report, "user_properties", ()):
                if key == _KEY:
                    seconds[report.nodeid] = seconds.get(report.nodeid, 0.0) + value
    terminal.section(f"CPU time, {sum(seconds.values()):.0f} s in all")
    for name in sorted(seconds, key=seconds.__getitem__, reverse=True)[:count]:
        terminal.write_line(f"{seconds[name]:8.2f} s  {name}")
