"""The benchmark of the kernels runs and prints what it promises; how fast this machine is does not matter."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.workers.client import python

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "kernels.py"


def run(*options: str) -> subprocess.CompletedProcess:
    return python(PROGRAM, "--device", "cpu", "--small", *options)


def test_table():
    names = ["attention", "rms_norm", "modulated_norm", "gated_add", "rotate", "qk_norm_rotate", "linear"]
    done = run("--no-compile", "--length", "40", "--operations", *names)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("batch 1, 40 tokens, 256 channels, 2 heads, float32; ")
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[4:] if line.startswith("|")]
    assert [(row[0], row[1], row[7]) for row in table] == [(name, "eager", "1.00") for name in names]
    assert all(float(value) > 0 for row in table for value in row[2:6])
    assert {row[6] for row in table} == {"GB/s", "TFLOP/s"}
    # What this device cannot run is named, with the reason.
    assert "te: cpu is no CUDA device" in lines[-1]
    assert "triton: the interpreter's speed is meaningless" in lines[-1]


def test_unknown_operation():
    done = run("--operations", "softmax")
    assert done.returncode != 0
    assert "unknown operation softmax: known are attention, rms_norm" in done.stderr
