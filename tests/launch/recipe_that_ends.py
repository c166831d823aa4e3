"""Stands for a recipe: knows signals like one, and ends with the status that the first argument names."""

import os
import signal
import sys
import time


def say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


say({key: os.environ.get(key) for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")})
restarts = int(os.environ.get("SLURM_RESTART_COUNT", 0))
if sys.argv[1] == "train":
    # Rank 1 begins late, so that it misses the first signal, and rank 0 ends late, as one that saves does.
    rank = int(os.environ["RANK"])
    asked = []
    time.sleep(4 * rank)
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, lambda received, frame: asked.append(received))
    say("training")
    end = time.monotonic() + (2 if restarts else 300)
    while not asked and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(0 if rank else 3)
    say(f"rank {rank} saved after restart {restarts}")
    sys.exit(128 + asked[0] if asked else 0)
sys.exit(int(sys.argv[1]))
