"""The benchmark of sparse convolutions runs and prints what it promises; how fast this machine is does not matter."""

from __future__ import annotations

from pathlib import Path

from tests.workers.client import python

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "sparse_conv.py"


def test_table() -> None:
    done = python(PROGRAM, "--small", "--backbone", "minkunet18", "--repeats", "1", "--threads", "1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("minkunet18, 21.7 M parameters, 2167 voxels of 1 sweeps, float32, cpu")
    heads, values = ([cell.strip() for cell in lines[row].strip("|").split("|")] for row in (2, 4))
    assert len(heads) == len(values) == 11
    assert all(float(value) > 0 for value in values[2:])  # maps are a difference of two times
