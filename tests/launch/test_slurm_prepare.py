"""The array job that prepares shards, on a real SLURM: four parts and a merge give the files of one process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cosmos_lidar.cli import main

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "launch/slurm/prepare.sbatch"
SPLIT = ["--split", "0.5,0.5,0", "--samples-per-shard", "1"]


@pytest.mark.slow  # three processes that import everything
def test_an_array_and_a_merge(slurm, tmp_path: Path):
    assert main(["synth", str(tmp_path / "drives"), "--drives", "2", "--frames", "6", "--sensor", "uniform64"]) == 0
    words = [str(tmp_path / "drives"), str(tmp_path / "out"), *SPLIT, "--frames-per-sample", "3"]
    out = f"--output={tmp_path}/job-%j.out"
    parts = slurm.submit("--array=3-4", out, SCRIPT, *words, cwd=ROOT, PYTHON=sys.executable)
    merge = slurm.submit(f"--dependency=afterok:{parts}", out, SCRIPT, *words, cwd=ROOT, PYTHON=sys.executable)
    found = slurm.wait(merge)
    logs = "".join(path.read_text() for path in tmp_path.glob("job-*.out"))
    assert found["ExitCode"] == "0:0", logs
    assert "part 0 of 2: 2 shards" in logs
    assert "part 1 of 2: 2 shards" in logs
    assert main(["prepare", words[0], str(tmp_path / "one"), *words[2:]]) == 0
    made = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.tar")}
    assert made == {path.name: path.read_bytes() for path in (tmp_path / "one").glob("*.tar")}
    assert len(made) == 4


def test_an_array_with_holes_is_refused(slurm, tmp_path: Path):
    out = tmp_path / "job.out"
    job = slurm.submit("--array=0-2:2", f"--output={out}", SCRIPT, "a", "b", cwd=ROOT, PYTHON=sys.executable)
    found = slurm.wait(job)
    assert found["ExitCode"] == "2:0", out.read_text()
    assert "expected a range without steps and holes" in out.read_text()
