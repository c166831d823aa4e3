import csv
import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

ROOT = Path(__file__).resolve().parents[2]
STEPS = 300


def losses(folder: Path) -> dict[int, float]:
    """Return {step: loss} of a run so far; a step that was logged twice fails."""
    file = folder / "metrics.csv"
    if not file.is_file():
        return {}
    rows = [row for row in csv.DictReader(file.read_text().splitlines()) if row.get("loss")]
    found = {int(row["step"]): float(row["loss"]) for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.mark.slow
def test_a_preempted_job_goes_on_where_it_stopped(slurm, tmp_path: Path):
    out, run = tmp_path / "job.out", tmp_path / "runs" / "posttraining" / "tokenizer" / "preempted"
    recipe = ["recipes/lidar_tokenizer.py", "recipe=debug", f"trainer.max_steps={STEPS}", "log.name=preempted"]
    # Nothing is saved on the way: what the second part begins with was saved because of the signal.
    rare = ["trainer.save_every=0", "trainer.val_every=0", "trainer.val_at_start=false", "data.workers=1"]
    env = {"PYTHON": sys.executable, "OUTPUT_ROOT": str(tmp_path / "runs"), "PYTHONPATH": str(ROOT)}
    options = ("--partition=low", "--ntasks-per-node=2", f"--output={out}")
    job = slurm.submit(*options, "launch/slurm/train.sbatch", *recipe, *rare, cwd=ROOT, **env)
    slurm.until(lambda: len(losses(run)) > 10 or out.is_file() and "ranks ended" in out.read_text(), "ten steps")
    assert slurm.job(job)["JobState"] == "RUNNING", out.read_text()

    other = slurm.submit("--partition=high", "--output=/dev/null", "--wrap=sleep 1", cwd=tmp_path)
    slurm.until(lambda: slurm.job(job).get("Restarts") == "1", "the requeue")
    first = losses(run)
    stopped_at = max(first)
    assert 10 < stopped_at < STEPS
    saved = {int(re.match(r"iter_(\d+)", file.name)[1]) for file in (run / "checkpoints").glob("iter_*")}
    assert saved == {stopped_at}

    assert slurm.wait(other)["JobState"] == "COMPLETED"
    found = slurm.wait(job)
    text = out.read_text()
    assert (found["JobState"], found["ExitCode"], found["Restarts"]) == ("COMPLETED", "0:0", "1"), text
    assert "ranks exited with status 138" in text
    assert re.search(rf"resuming from \S*iter_0*{stopped_at}\b", text), text
    both = losses(run)
    assert list(both) == list(range(1, STEPS + 1))
    assert {step: both[step] for step in first} == first
    assert "traceback" not in text.lower()
