from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

from clips_plan import Job, Measured, plan_rows


def cells(found: Measured, job: Job) -> dict[str, tuple[str, str]]:
    return {what: (one, every) for what, one, every in plan_rows(found, job)}


def test_a_plan_by_hand() -> None:
    """100,000 clips of 200 sweeps: 20 million; 0.18 s each are 3.6 million seconds, 1,000 hours."""
    plan = cells(Measured(read_s=0.09, prepare_s=0.18, shard_mb=0.5), Job())
    assert plan["source (published: 20 GB per 100 clips)"] == ("1.0 MB", "20 TB")
    assert plan["shards: ranges in steps of 2 mm and intensity, zstd"] == ("0.50 MB", "10.0 TB")
    assert plan["reading alone (Draco)"] == ("0.090 s", "500 core-hours")
    assert plan["`prepare`, with reading"] == ("0.180 s", "1,000 core-hours: 3.9 hours on 256 cores")
    assert plan["network for `prepare` on 256 cores"] == ("", "reads 1.4 GB/s, writes 0.7 GB/s")
    assert plan["samples of 10 sweeps"] == ("", "2,000,000 of 5.0 MB")
    assert plan["shards of 64 samples (default)"] == ("", "31,250 of 0.3 GB")
    assert plan["shards with `--samples-per-shard 256`"] == ("", "7,813 of 1.3 GB")


@pytest.mark.parametrize(("seconds", "samples"), [(20.0, 200), (20.1, 210), (0.5, 10)])
def test_samples_end_with_their_clip(seconds: float, samples: int) -> None:
    job = Job(clips=10, seconds=seconds)
    assert job.samples == samples
    assert job.sweeps == round(10 * seconds * 10)
