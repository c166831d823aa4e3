"""One training run, read from its folder: options, log, newest checkpoint, owner. What is damaged is named."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from cosmos_lidar.bounds import expect_plain_file, expect_size, read_file
from cosmos_lidar.errors import UserError
from cosmos_lidar.files import parse_yaml
from cosmos_lidar.runs.states import Progress, State, state_of
from cosmos_lidar.training.checkpoint.manifest import ASIDE, MANIFEST, checkpoint_step, checkpoints_in, read_manifest
from cosmos_lidar.training.measure.step_clock import PARTS
from cosmos_lidar.training.metrics_file import read_metrics
from cosmos_lidar.training.option_names import FORMER
from cosmos_lidar.training.overrides import leaves
from cosmos_lidar.training.owner import Owner, last_owner
from cosmos_lidar.training.run_folder import CHECKPOINTS, CONFIG, METRICS, published_checkpoint
from cosmos_lidar.viz.curve import Series

LARGEST_LOG = 32 << 20  # bytes of a metrics.csv: a million steps, every tenth of them a row
_LARGEST_CONFIG = 1 << 20
_LARGEST_MANIFEST = 1 << 25
_MOST_OPTIONS = 2000
_MOST_CURVES = 40
_HIGH_IS_GOOD = ("psnr", "ssim", "iou", "accuracy", "precision", "recall")
_NEITHER = ("perplexity", "codes_used")  # no value of these is best
_DAMAGED = (OSError, UserError, ValueError, LookupError, TypeError, RecursionError, csv.Error, yaml.YAMLError)

Rows = list[dict[str, str]]


class Best(NamedTuple):
    """Best value of a validation metric, and the step after which it was measured."""

    value: float
    step: int


@dataclass
class RunRecord:
    """What a run folder holds.

    Attributes:
        path: of the folder.
        name: how it is shown among others.
        options: by dotted key, of its config.yaml; empty where that cannot be read.
        series: training loss and validation metrics over steps.
        best: of each validation metric; that of ``trainer.best_metric`` comes first.
        progress: how far it came.
        state: see :func:`~cosmos_lidar.runs.states.state_of`.
        reason: what the state follows from.
        seconds: of its training steps, without validation; None where its log has no times.
        owner: its last one.
        ranks: of the run; None where not recorded.
        written: when its log was written last, seconds since 1970; None without one.
        problems: files that are missing, damaged or of others.
    """

    path: Path
    name: str
    options: dict[str, Any] = field(default_factory=dict)
    series: dict[str, Series] = field(default_factory=dict)
    best: dict[str, Best] = field(default_factory=dict)
    progress: Progress = Progress(0, 0, None)
    state: State = "unknown"
    reason: str = ""
    seconds: float | None = None
    owner: Owner | None = None
    ranks: int | None = None
    written: float | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def family(self) -> str:
        """Family of the run, empty where its options cannot be read."""
        return _text(self.options.get("family"))

    @property
    def recipe(self) -> str:
        """Variant that its options came from."""
        return _text(self.options.get("recipe"))

    @property
    def data(self) -> str:
        """Folder of its data."""
        return _text(self.options.get("data.path"))

    @property
    def hardware(self) -> str:
        """Ranks, device and host, as far as they are recorded."""
        device = printable(self.owner.device) if self.owner else ""
        if not device and self.options.get("trainer.accelerator") in ("cpu", "gpu"):
            device = str(self.options["trainer.accelerator"]).upper()
        many = f"{self.ranks} ranks" if (self.ranks or 1) > 1 else ""
        host = f"host {printable(self.owner.host)}" if self.owner else ""
        return ", ".join(part for part in (many, device, host) if part)


def printable(text: str, most: int = 200) -> str:
    """Return text from a file for a terminal or page: control characters replaced, long text cut."""
    text = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def read_run(folder: Path, name: str) -> RunRecord:
    """Read a run folder; nothing in it is executed, and what cannot be read becomes one of ``problems``.

    Args:
        folder: of the run.
        name: to show it by.
    """
    run = RunRecord(folder, printable(name))
    with _noting(run, CONFIG):
        run.options = _read_options(folder / CONFIG)
    rows: Rows = []
    with _noting(run, METRICS):
        rows = _read_log(folder / METRICS, run.problems.append)
        run.written = (folder / METRICS).stat().st_mtime
    with _noting(run, ".owner"):
        run.owner, alive = last_owner(folder)
        run.ranks = run.owner.ranks if run.owner else None
    logged = _take_numbers(run, rows)
    saved = 0
    with _noting(run, CHECKPOINTS):
        saved = _look_at_checkpoints(run)
    wanted = run.options.get("trainer.max_steps")
    run.progress = Progress(logged, saved, wanted if type(wanted) is int and wanted > 0 else None)
    with _noting(run, "state"):
        run.state, run.reason = state_of(folder, run.owner, run.owner is not None and alive, run.progress)
        run.reason = printable(run.reason)
    _note_others(run)
    return run


@contextmanager
def _noting(run: RunRecord, what: str) -> Iterator[None]:
    """Add what goes wrong in the block to the run's problems."""
    try:
        yield
    except _DAMAGED as error:
        missing = isinstance(error, FileNotFoundError)
        reason = "missing" if missing else (str(error).strip().splitlines() or [type(error).__name__])[0]
        run.problems.append(printable(f"{what}: {reason}", 300))


def _read_options(path: Path) -> dict[str, Any]:
    """Return options by dotted key, those with a former name by today's.

    Raises:
        ValueError: no mapping.
    """
    document = parse_yaml(read_file(path, "a configuration", _LARGEST_CONFIG).decode("utf-8"))
    if not isinstance(document, dict):
        raise ValueError("empty, or no mapping of options")
    found = islice(leaves(document), _MOST_OPTIONS)
    return {printable(FORMER.get(str(key), str(key))): _value(value) for key, value in found}


def _value(value: object) -> Any:
    """Return an option as a plain value."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return printable(value if isinstance(value, str) else str(value))


def _read_log(path: Path, report: Callable[[str], None]) -> Rows:
    """Return the rows of a metrics.csv, after a look at its size."""
    expect_plain_file(path)
    size = path.stat().st_size
    expect_size(size, "a log of metrics", limit=LARGEST_LOG, file=path)
    if size:
        with path.open("rb") as stream:
            stream.seek(-1, 2)
            if stream.read(1) != b"\n":
                report(f"{METRICS}: its last line is cut short")
    rows = read_metrics(path)
    if not rows:
        report(f"{METRICS}: no row yet")
    return rows


def _take_numbers(run: RunRecord, rows: Rows) -> int:
    """Take curves, best values and time from the rows of the log; returns its last step."""
    wrong: set[str] = set()
    names = [name for name in (rows[0] if rows else ()) if name == "loss" or str(name).startswith("val/")]
    for name in names[:_MOST_CURVES]:
        series = _series(rows, name, wrong)
        if len(series.steps):
            run.series[printable(name, 60)] = series
    run.seconds = _seconds(rows, wrong)
    run.best = _best(run)
    if wrong:
        run.problems.append(f"{METRICS}: fields that are no numbers in {printable(', '.join(sorted(wrong)))}")
    steps = _series(rows, "step", wrong).steps
    return int(steps[-1]) if len(steps) else 0


def _series(rows: Rows, name: str, wrong: set[str]) -> Series:
    """Return the finite values of a column by ascending step; a column with other text is added to ``wrong``."""
    pairs = [(_number(row["step"]), _number(row[name])) for row in rows if row.get(name)]
    if any(value is None for pair in pairs for value in pair):
        wrong.add(name)
    numbers = np.array([pair for pair in pairs if None not in pair], np.float64).reshape(-1, 2)
    numbers = numbers[np.isfinite(numbers).all(axis=1)]
    numbers = numbers[np.argsort(numbers[:, 0], kind="stable")]
    return Series(numbers[:, 0], numbers[:, 1])


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _seconds(rows: Rows, wrong: set[str]) -> float | None:
    """Return the sum over rows of (steps since the last one) x (seconds per step, by part)."""
    parts = {name: _series(rows, name, wrong) for name in PARTS if rows and name in rows[0]}
    timed = [one for one in parts.values() if len(one.steps)]
    if not timed:
        return None
    return float(sum(np.sum(np.diff(one.steps, prepend=0.0) * one.values) for one in timed))


def _best(run: RunRecord) -> dict[str, Best]:
    """Return the best value of every validation metric; those where high is good are known by their names."""
    asked = str(run.options.get("trainer.best_metric", "val/loss"))
    names = [name for name in run.series if name.startswith("val/") and not name.endswith(_NEITHER)]
    names.sort(key=lambda name: name != asked.lstrip("-"))  # stable
    best = {}
    for name in names:
        steps, values = run.series[name]
        high = asked.startswith("-") if name == asked.lstrip("-") else any(word in name for word in _HIGH_IS_GOOD)
        at = int(np.argmax(values) if high else np.argmin(values))
        best[name] = Best(float(values[at]), int(steps[at]))
    return best


def _look_at_checkpoints(run: RunRecord) -> int:
    """Return the step of the newest checkpoint, 0 without one; its manifest has the ranks where no owner has."""
    newest = next(iter(checkpoints_in(run.path / CHECKPOINTS)), None)
    if newest is None:
        return 0
    with _noting(run, f"{CHECKPOINTS}/{newest.name}"):
        expect_plain_file(newest / MANIFEST)
        expect_size((newest / MANIFEST).stat().st_size, "a manifest", limit=_LARGEST_MANIFEST, file=newest / MANIFEST)
        ranks = read_manifest(newest)["processes"]
        run.ranks = run.ranks or (ranks if type(ranks) is int else None)
    return checkpoint_step(newest)


def _note_others(run: RunRecord) -> None:
    """Note runs of other trainers, of earlier versions, and what was moved aside."""
    with _noting(run, CHECKPOINTS):
        if published_checkpoint(run.path / CHECKPOINTS) is not None:
            run.problems.append("a run of the published trainer: only its checkpoints are known")
    if run.options and not run.family:
        run.problems.append(f"{CONFIG}: names no family: of an earlier version, or of another program")
    with _noting(run, ASIDE):
        former = [path.name for path in (run.path / ASIDE).glob("[0-9]*")]
        if former:
            run.problems.append(f"{len(former)} earlier parts or runs are in {ASIDE}/, not listed")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
