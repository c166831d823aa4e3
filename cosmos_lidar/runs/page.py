"""One offline page of training runs: table, best values, options that differ, curves over each other, images."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from cosmos_lidar.runs.differences import differences, families
from cosmos_lidar.runs.listing import COLUMNS, all_problems, to_row
from cosmos_lidar.runs.reading import RunRecord, printable
from cosmos_lidar.runs.samples import Sample, read_samples
from cosmos_lidar.viz.report import Report

MOST_LINES = 12  # runs in a plot, and columns in a table of options
MOST_PLOTS = 40
MOST_ROWS = 500
MOST_WITH_SAMPLES = 24
_COLORS = (
    "var(--accent)", "var(--second)", "var(--good)", "#8b5cf6", "#c026a3", "#b08900", "#0891b2", "#dc2626", "#65a30d",
    "#7c8798", "#a8622a", "#6366f1",
)  # fmt: skip
_GRID = "display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,300px),1fr));gap:14px;padding:14px"


def write_page(path: Path, root: Path, runs: Sequence[RunRecord], problems: Sequence[str] = ()) -> Path:
    """Write the page of the runs below ``root`` and return its path.

    Args:
        path: HTML file to write.
        root: where they were found, for the subtitle.
        runs: at most :data:`MOST_ROWS` are listed.
        problems: what could not be searched.
    """
    report = Report("Training runs", f"{len(runs)} run{'s' * (len(runs) != 1)} below {printable(str(root))}")
    if runs:
        _add_table(report, runs)
        _add_best(report, runs)
        _add_differences(report, runs)
        _add_curves(report, runs)
        problems = [*problems, *_add_samples(report, runs)]
    texts = all_problems(runs, problems)
    if texts:
        report.heading("Missing, damaged, left out").facts([_split(text) for text in texts[:MOST_ROWS]])
    return report.write(path)


def _add_table(report: Report, runs: Sequence[RunRecord]) -> None:
    rows = [to_row(run) for run in runs[:MOST_ROWS]]
    kept = [number for number in range(len(COLUMNS)) if any(row[number] for row in rows)]
    note = "Best: of every validation, @ step. Time: of training steps, without validation."
    if len(runs) > MOST_ROWS:
        note += f" The first {MOST_ROWS} runs; --csv and --json have all."
    report.heading("Runs")
    report.table([COLUMNS[number] for number in kept], [[row[n] or "–" for n in kept] for row in rows], note)
    reasons = [(run.name, f"{run.state}: {run.reason}") for run in runs[:MOST_ROWS] if run.reason]
    if reasons:
        report.facts(reasons)


def _add_best(report: Report, runs: Sequence[RunRecord]) -> None:
    measured = {family: [run for run in members if run.best] for family, members in families(runs).items()}
    measured = {family: members for family, members in measured.items() if members}
    if measured:
        report.heading("Best validations")
    for family, members in measured.items():
        names = list(dict.fromkeys(name for run in members for name in run.best))
        rows = [
            [run.name, *(run.best[name].value if name in run.best else None for name in names)]
            for run in members[:MOST_ROWS]
        ]
        report.table(["run", *(name.removeprefix("val/") for name in names)], rows, _family(family))


def _add_differences(report: Report, runs: Sequence[RunRecord]) -> None:
    found = differences(runs)
    if found:
        report.heading("Options that differ")
    for family, options in found.items():
        members = [run.name for run in families(runs)[family] if run.options]
        shown = members[:MOST_LINES]
        rows = [[key, *(_option(values, name) for name in shown)] for key, values in options.items()]
        report.table(
            ["option", *shown], rows, _family(family) + _left_out(len(members), "–: not an option of that run.")
        )


def _option(values: dict[str, object], name: str) -> str:
    if name not in values:
        return "–"
    value = values[name]
    return str(value).lower() if isinstance(value, bool) else "none" if value is None else str(value) or "''"


def _add_curves(report: Report, runs: Sequence[RunRecord]) -> None:
    """Add a plot for the training loss and for each validation metric of a family, a line per run."""
    plots = 0
    for family, members in families(runs).items():
        shown = sorted((run for run in members if run.series), key=lambda run: run.written or 0.0)[-MOST_LINES:]
        shown = [run for run in members if run in shown]
        colors = dict(zip((run.name for run in shown), _COLORS, strict=False))
        for name in dict.fromkeys(name for run in shown for name in run.series):
            if plots == 0:
                report.heading("Curves")
            if plots == MOST_PLOTS:
                report.text(f"Further metrics are left out: a page has {MOST_PLOTS} plots.")
                return
            plots += 1
            lines = {run.name: run.series[name] for run in shown if name in run.series}
            title = "Training loss" if name == "loss" else f"Validation: {name.removeprefix('val/')}"
            caption = f"{title}. {_family(family)}" + _left_out(
                len([run for run in members if run.series]), "", " runs"
            )
            report.curve(lines, caption=caption, colors=[colors[run] for run in lines])


def _add_samples(report: Report, runs: Sequence[RunRecord]) -> list[str]:
    """Add images of the first runs that have some; returns what could not be shown."""
    cards: list[str] = []
    problems: list[str] = []
    for run in runs:
        if len(cards) >= MOST_WITH_SAMPLES:
            problems.append(f"images of further runs than {MOST_WITH_SAMPLES} are left out")
            break
        samples, wrong = read_samples(run.path)
        problems += [f"{run.name}: {text}" for text in wrong]
        if samples:
            cards.append("".join(_figure(run.name, sample) for sample in samples))
    if cards:
        report.heading("Samples").block(f'<div class="card"><div style="{_GRID}">{"".join(cards)}</div></div>')
    return problems


def _figure(name: str, sample: Sample) -> str:
    data = base64.b64encode(sample.jpeg).decode("ascii")
    width, height = sample.size
    caption = escape(f"{name}: {sample.caption}")
    image = (
        f'<img alt="{caption}" width="{width}" height="{height}" style="display:block;width:100%;height:auto" '
        f'src="data:image/jpeg;base64,{data}">'
    )
    style = "overflow-wrap:anywhere;padding:8px 0 0"
    return f'<figure style="margin:0">{image}<figcaption style="{style}">{caption}</figcaption></figure>'


def _family(name: str) -> str:
    return f"Family {name}." if name else "Family unknown."


def _left_out(count: int, otherwise: str, what: str = " runs with options") -> str:
    """Return a remark where not all of ``count`` are shown."""
    more = f"{MOST_LINES} of {count}{what}; --json has all." if count > MOST_LINES else ""
    return "".join(f" {text}" for text in (more, otherwise) if text)


def _split(text: str) -> tuple[str, str]:
    name, _, rest = text.partition(": ")
    return (name, rest) if rest else ("", text)
