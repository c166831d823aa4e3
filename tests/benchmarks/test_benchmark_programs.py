"""The benchmarks run from the command line and print what they promise; how fast this machine is does not matter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def run(program: str, *options: str) -> str:
    done = subprocess.run([sys.executable, FOLDER / program, *options], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_range_maps_as_json():
    """The program itself fails where its two ways of projecting differ."""
    result = json.loads(run("range_maps.py", "--sensors", "nuscenes_hdl32e", "--repeats", "1", "--json"))
    (row,) = result["rows"]
    assert (row["sensor"], row["rows"], row["columns"]) == ("nuscenes_hdl32e", 32, 1088)
    assert row["ratio"] == pytest.approx(row["project"] / row["straightforward"])
    assert all(row[name] > 0 for name in ("unproject", "compensate", "decompensate", "picture", "restore"))
    assert "one thread" in result["machine"]


def test_range_maps_as_table():
    lines = run("range_maps.py", "--sensors", "uniform64", "--repeats", "1", "--shuffle").splitlines()
    assert "points in random order" in lines[0]
    assert lines[-1].startswith("| uniform64 | 64 x 1024 | ")
    assert {line.count("|") for line in lines[2:]} == {12}


def test_tokenizer_quick_with_options_beside_it():
    lines = run("tokenizer.py", "--quick", "--channels", "32", "--sizes", "32x64", "--dtypes", "bfloat16",
                "--modes", "eager", "--device", "cpu").splitlines()  # fmt: skip
    assert "CI8x8, resolution 512, 5,068,928 parameters" in lines[0]
    assert lines[-1].startswith("| 32 x 64 | 1 | bfloat16 | eager | ")
    assert len(lines) == 5
