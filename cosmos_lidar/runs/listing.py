"""Training runs as rows: for the terminal, as CSV and as JSON."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cosmos_lidar.runs.differences import differences
from cosmos_lidar.runs.reading import RunRecord, printable

COLUMNS = ("run", "state", "family", "recipe", "steps", "best", "time", "hardware", "started", "data")
_SHOWN_METRICS = 3
_LONG = 32  # characters


def run_names(folders: Sequence[Path]) -> list[str]:
    """Return the shortest paths that tell run folders apart: relative to the deepest folder that holds them all."""
    if len(folders) < 2:
        return [folder.resolve().name or str(folder) for folder in folders]
    common = os.path.commonpath(folders)
    return [path if (path := os.path.relpath(folder, common)) != "." else folder.resolve().name for folder in folders]


def to_row(run: RunRecord) -> tuple[str, ...]:
    """Return the values of :data:`COLUMNS` as text, empty where they are not recorded."""
    wanted = run.progress.wanted
    return (
        run.name,
        run.state,
        run.family,
        run.recipe,
        f"{run.progress.step:,}" + (f" / {wanted:,}" if wanted else ""),
        " · ".join(best_texts(run)[:_SHOWN_METRICS]),
        duration(run.seconds),
        run.hardware,
        printable(run.owner.started) if run.owner else "",
        _end_of(run.data),
    )


def _end_of(path: str) -> str:
    """Return a path, a long one by its last two parts."""
    return path if len(path) <= _LONG else "…/" + "/".join(path.rstrip("/").split("/")[-2:])


def best_texts(run: RunRecord) -> list[str]:
    """Return the best values of a run, such as ``loss 0.7403 @ 60``."""
    return [f"{name.removeprefix('val/')} {best.value:.4g} @ {best.step:,}" for name, best in run.best.items()]


def duration(seconds: float | None) -> str:
    """Return seconds as ``3 d 04:05:06`` or ``4:05:06``, empty for None."""
    if seconds is None:
        return ""
    days, rest = divmod(round(seconds), 86_400)
    clock = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days} d {clock}" if days else clock


def show(runs: Sequence[RunRecord], problems: Sequence[str], width: int | None) -> str:
    """Return a table and what could not be read as text for a terminal of ``width`` columns; None for a file."""
    from rich.console import Console
    from rich.table import Table

    stream = io.StringIO()
    console = Console(file=stream, markup=False, highlight=False, emoji=False, soft_wrap=True, width=width or 400)
    table = Table(box=None, pad_edge=False)
    rows = [to_row(run) for run in runs]
    kept = [number for number in range(len(COLUMNS)) if any(row[number] for row in rows)]
    for number in kept:
        table.add_column(COLUMNS[number], overflow="fold")
    for row in rows:
        table.add_row(*(row[number] for number in kept))
    if runs:
        console.print(table)
    for run in runs:
        if run.reason:
            console.print(f"{run.state} {run.name}: {run.reason}")
    for text in all_problems(runs, problems):
        console.print(f"note: {text}")
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def all_problems(runs: Sequence[RunRecord], problems: Sequence[str]) -> list[str]:
    """Return what could not be read or searched, with the names of the runs."""
    return [
        *(printable(text, 400) for text in problems),
        *(f"{run.name}: {one}" for run in runs for one in run.problems),
    ]


def to_csv(runs: Sequence[RunRecord]) -> str:
    """Return a line per run; best values, and the steps that have them, are columns of their own."""
    metrics = list(dict.fromkeys(name for run in runs for name in run.best))
    rows = [_flat(run) for run in runs]
    columns = [*_flat(RunRecord(Path(), "")), *(column for name in metrics for column in (name, f"{name} step"))]
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def to_json(root: Path, runs: Sequence[RunRecord], problems: Sequence[str]) -> str:
    """Return all that is known of the runs, their options included, as a JSON document."""
    document = {
        "folder": printable(str(root), 1000),
        "runs": [_document(run) for run in runs],
        "differences": differences(runs),
        "problems": [printable(text, 400) for text in problems],
    }
    return json.dumps(_finite(document), indent=1, allow_nan=False) + "\n"


def _facts(run: RunRecord) -> dict[str, Any]:
    written = None if run.written is None else time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(run.written))
    owner = run.owner
    return {
        "run": run.name,
        "path": printable(str(run.path), 1000),
        "state": run.state,
        "reason": run.reason,
        "family": run.family,
        "recipe": run.recipe,
        "data": run.data,
        "step": run.progress.step,
        "max_steps": run.progress.wanted,
        "checkpoint_step": run.progress.saved,
        "seconds": None if run.seconds is None else round(run.seconds, 3),
        "ranks": run.ranks,
        "device": printable(owner.device) if owner else "",
        "host": printable(owner.host) if owner else "",
        "started": printable(owner.started) if owner else "",
        "written": written,
    }


def _flat(run: RunRecord) -> dict[str, Any]:
    best = {name: value.value for name, value in run.best.items()}
    steps = {f"{name} step": value.step for name, value in run.best.items()}
    return _facts(run) | {"problems": "; ".join(run.problems)} | best | steps


def _document(run: RunRecord) -> dict[str, Any]:
    best = {name: value._asdict() for name, value in run.best.items()}
    last = {name: float(one.values[-1]) for name, one in run.series.items()}
    return _facts(run) | {"best": best, "last": last, "problems": run.problems, "options": run.options}


def _finite(value: Any) -> Any:
    """Return a document in which numbers that JSON does not have are text."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return str(value) if isinstance(value, float) and value - value != 0.0 else value
