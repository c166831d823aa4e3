"""The proof of pre-training without labels rehearsed: every run is scored once, and an interrupted one goes on."""

from __future__ import annotations

import json
from pathlib import Path

from tests.workers.client import python

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "also_proof.py"
FEW = ("--tiny", "--labeled", "2", "--seeds", "1")


def test_rehearsed_and_taken_up(tmp_path: Path) -> None:
    done = python(PROGRAM, tmp_path, *FEW)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "results.json"
    found = json.loads(path.read_text())
    starts = ["scratch", "also", "bevcontrast", "both", "sweeps"]
    expected = [f"tune_{start}_2_0" for start in starts] + [f"probe_{start}_2_0" for start in starts[1:]]
    assert list(found["cells"]) == expected
    assert all(0 <= score <= 1 for score in found["cells"].values())
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0].strip("| ") for row in rows[2:6]] == [
        "ALSO", "BEVContrast", "both", "ALSO, queries of 5 sweeps",
    ]  # fmt: skip
    assert f"{100 * found['cells']['tune_scratch_2_0']:.1f} |" in rows[1]

    shown = python(PROGRAM, tmp_path, *FEW, "--finished")
    assert shown.stdout == done.stdout

    del found["cells"]["probe_both_2_0"]
    kept = {name: score + 0.5 for name, score in found["cells"].items()}  # what is there is not trained again
    path.write_text(json.dumps(found | {"cells": kept}))
    again = python(PROGRAM, tmp_path, *FEW, "--json")
    assert again.returncode == 0, again.stderr
    taken_up = json.loads(path.read_text())["cells"]
    assert {name: taken_up[name] for name in kept} == kept
    assert list(taken_up) == expected

    some = python(PROGRAM, tmp_path, *FEW, "--finished", "--starts", "scratch", "both")
    assert [row.split(" | ")[0].strip("| ") for row in some.stdout.splitlines()[4:]] == ["from scratch", "both", "both"]

    other = python(PROGRAM, tmp_path, *FEW, "--steps", "3")
    assert other.returncode != 0
    assert "other steps: take another folder" in other.stderr
