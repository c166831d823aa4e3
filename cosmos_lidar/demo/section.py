"""Sections of the demo's page: what one model family shows, or why it cannot with these recordings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_lidar import weights
from cosmos_lidar.viz.report import Report

if TYPE_CHECKING:
    from cosmos_lidar.training.config import AnyConfig
    from cosmos_lidar.training.engine import RunResult
    from cosmos_lidar.training.family import Family


@dataclass(frozen=True)
class Section:
    """One model family on the page.

    Attributes:
        title: heading.
        sentence: what is shown, and measured on what.
        draw: adds figures and a table to the report.
        command: the same on other recordings.
        numbers: for ``metrics.json``.
        omitted: what of the section these recordings do not allow, and why.
    """

    title: str
    sentence: str
    draw: Callable[[Report], object]
    command: str
    numbers: Mapping[str, Any]
    omitted: tuple[str, ...] = ()

    def add_to(self, report: Report) -> None:
        """Add heading, sentence, figures, table and command."""
        report.heading(self.title).text(self.sentence)
        self.draw(report)
        report.block(f'<pre class="command">{escape(self.command)}</pre>')


class LeftOutError(Exception):
    """These recordings, or this installation, do not allow a section; the message is the reason, for the page."""


@dataclass(frozen=True)
class DemoContext:
    """What every section is given beside the recordings.

    Attributes:
        out: folder of all results.
        steps: most steps of each training; None for those of its recipe.
        data: the user's recordings, for the commands on the page; None for synthetic drives.
    """

    out: Path
    steps: int | None = None
    data: Path | None = None

    def limited(self, steps: int) -> int:
        """Return how many steps a training of ``steps`` has here."""
        return steps if self.steps is None else min(steps, self.steps)


class TrainingStoppedError(Exception):
    """A signal ended a training, which the next call resumes.

    Args:
        signal: its number.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(f"signal {signal}")
        self.signal = signal


def train(family: Family[Any], run: AnyConfig) -> RunResult:
    """Train, or resume training, or find it finished.

    Raises:
        TrainingStoppedError: by a signal, after a checkpoint.
    """
    result = family.train(run)
    if result.signal:
        raise TrainingStoppedError(result.signal)
    return result


def embedded_model(name: str) -> Path:
    """Return the weights file of an embedded model.

    Raises:
        LeftOutError: it is not installed.
    """
    if name not in weights.names():
        raise LeftOutError(f"the embedded model {name} is not in this installation")
    return weights.find(name) / weights.FILE
