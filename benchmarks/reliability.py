"""False alarms of the spike guard, and how often one of many runs owns a folder: figures of docs/reliability.md.

    python benchmarks/reliability.py [steps] [rounds]    # 250000 steps of each kind of loss, 200 rounds of 8 runs

A sound loss that is refused is a false alarm: losses are drawn from the distributions of
``tests/training/guards/test_loss_spikes.py``. In each round eight runs follow a killed owner at once: one may own the
folder.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from cosmos_lidar.errors import UserError
from cosmos_lidar.training.config import GuardConfig
from cosmos_lidar.training.guards.loss_spikes import SpikeGuard
from cosmos_lidar.training.owner import FOLDER, RunOwner, this_process

RUNS = 8


def losses(steps: int) -> dict[str, np.ndarray]:
    """Return sound losses (steps,) of each kind."""
    rng = np.random.default_rng(0)
    return {
        "log-normal, sigma 0.5": np.exp(0.5 * rng.normal(size=steps)),
        "log-normal, sigma 1": np.exp(rng.normal(size=steps)),
        "Student t, 3 degrees of freedom": 1 + 0.05 * rng.standard_t(3, size=steps),
        "falling, normal": (1 + 0.05 * rng.normal(size=steps)) / (1 + np.arange(steps) / 500),
    }


def owners(folder: Path) -> int:
    """Return how many of :data:`RUNS` runs that begin at once own a folder whose owner was killed."""
    record = folder / FOLDER / "000001.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps(asdict(replace(this_process(), process_start="1"))))
    barrier, got = threading.Barrier(RUNS), []

    def compete() -> None:
        hold = RunOwner(folder, this_process(), beat_s=0.05, stale_s=1.0)
        barrier.wait()
        try:
            hold.acquire()
        except UserError:
            return
        got.append(hold)

    threads = [threading.Thread(target=compete) for _ in range(RUNS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for hold in got:
        hold.release()
    return len(got)


def main() -> None:
    """Print a line for each figure."""
    steps, rounds = (int(word) for word in [*sys.argv[1:3], *("250000", "200")[len(sys.argv) - 1 :]])
    for name, drawn in losses(steps).items():
        guard = SpikeGuard(GuardConfig(spike="skip"))
        refused = sum(guard.jumps(float(loss)) for loss in drawn)
        sys.stdout.write(f"{name}: {refused} of {steps} sound losses refused, {refused / steps:.1e}\n")
    with tempfile.TemporaryDirectory() as folder:
        counts = Counter(owners(Path(folder) / str(number)) for number in range(rounds))
    text = ", ".join(f"{owning} in {times} rounds" for owning, times in sorted(counts.items()))
    sys.stdout.write(f"owners among {RUNS} runs that begin at once: {text}\n")


if __name__ == "__main__":
    main()
