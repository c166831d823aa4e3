import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S, wait_until

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_every_process_of_a_run_saves_and_stops(tmp_path: Path, number: signal.Signals):
    options = ["recipe=debug", "data.workers=1", "trainer.max_steps=1000000", "trainer.val_every=0"]
    options += ["trainer.save_every=0"]
    command = [sys.executable, "recipes/lidar_tokenizer.py", *options, "trainer.export=false", "log.name=run"]
    env = os.environ | {"OUTPUT_ROOT": str(tmp_path), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    metrics = tmp_path / "posttraining" / "tokenizer" / "run" / "metrics.csv"
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run under nohup
    with (tmp_path / "out").open("w") as out:
        run = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out, start_new_session=True)
    signal.signal(signal.SIGHUP, before)
    try:

        def ten_steps() -> bool:
            assert run.poll() is None, (tmp_path / "out").read_text()
            return metrics.is_file() and "\n10," in metrics.read_text()

        wait_until(ten_steps, "step 10")
        os.killpg(run.pid, number)
        assert run.wait(PATIENCE_S) == 128 + number, (tmp_path / "out").read_text()
    finally:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
    assert "Traceback" not in (tmp_path / "out").read_text()
    assert list((metrics.parent / "checkpoints").glob("iter_*"))
