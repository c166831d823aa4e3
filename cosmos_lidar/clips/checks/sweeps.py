"""Sweeps that cannot be read, have wrong shapes, no return, or cover a part of the turn."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cosmos_lidar.clips.checks._recording import Recording
from cosmos_lidar.clips.clip import LidarStream
from cosmos_lidar.clips.finding import Finding
from cosmos_lidar.clips.sweep import sweep_problems
from cosmos_lidar.clips.sweep_counts import SweepCount

TITLE = "sweeps that cannot be read, are empty or cut off, or have wrong shapes"
READS = True
_LEAST_TURN = 0.7  # columns with a return, of those that most sweeps have


def check_lidar(recording: Recording, stream: LidarStream) -> Iterator[Finding]:
    """Yield what is wrong with the sweeps that are read, one by one."""
    counted = recording.counted(stream)
    without, chosen = 0, recording.chosen(stream)
    for index in chosen:
        error, sweep = recording.sweep_error(stream, index), recording.sweep(stream, index)
        if error is not None:
            file = None if error.file is None else str(error.file)
            yield Finding("sweeps.unreadable", "error", str(error), index, file, {"key": error.key})
        if sweep is not None:
            without += sweep.without_return
            for problem in sweep_problems(sweep, stream.sensor):
                yield Finding("sweeps.shape", "error", f"sweep {index}: {problem}", index)
    if without:
        text = f"{without} points of {len(chosen)} sweeps are NaN, infinite or the origin: no return"
        evidence = {"points": without, "sweeps": len(chosen)}
        yield Finding("sweeps.without_return", "note", text, evidence=evidence)
    yield from _empty_or_partial(counted)


def _empty_or_partial(counted: dict[int, SweepCount]) -> Iterator[Finding]:
    """Yield findings on sweeps without a return, and on those that cover less of the turn than most of the others."""
    if counted and not any(len(one.ranges) for one in counted.values()):
        points = sum(one.points for one in counted.values())
        total = {"sweeps": len(counted), "points": points}
        yield Finding("sweeps.no_return", "error", "no return in any of the sweeps read", min(counted), None, total)
        return
    usual = float(np.median([one.columns for one in counted.values()])) if counted else 0.0
    for index, one in counted.items():
        evidence: dict[str, float] = {"columns": one.columns, "usual_columns": usual, "points": one.points}
        if not len(one.ranges):
            among = f", none of its {one.points} points is in the range map" if one.points else ""
            yield Finding("sweeps.no_return", "error", f"sweep {index}: no return{among}", index, None, evidence)
        elif one.columns < _LEAST_TURN * usual:
            text = f"sweep {index}: {one.columns} columns have a return, of most sweeps {usual:.0f}: cut off?"
            yield Finding("sweeps.partial", "error", text, index, None, evidence)
