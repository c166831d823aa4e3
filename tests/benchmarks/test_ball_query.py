"""The benchmark of the ball query runs and prints what it promises; how fast this machine is does not matter."""

from __future__ import annotations

from pathlib import Path

from tests.workers.client import python

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "ball_query.py"


def test_table() -> None:
    done = python(PROGRAM, "synthetic@0.5@1000@300", "--repeats", "1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    heads, values = ([cell.strip() for cell in lines[row].strip("|").split("|")] for row in (2, 4))
    assert len(heads) == len(values) == 10
    assert values[:3] == ["synthetic", "1000", "300"]
    assert all(float(value) > 0 for value in values[3:])
