"""The benchmark of pre-training runs and prints what it promises; how fast this machine is does not matter."""

from __future__ import annotations

from pathlib import Path

from tests.workers.client import python

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "also_pretraining.py"


def test_table() -> None:
    done = python(PROGRAM, "debug", "--batch", "2", "--repeats", "1", "--options", "data.points=500")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    heads, values = ([cell.strip() for cell in lines[row].strip("|").split("|")] for row in (2, 4))
    assert len(heads) == len(values) == 9
    assert values[:3] == ["debug", "2", "1000"]
    assert all(float(value) > 0 for value in values[3:])
