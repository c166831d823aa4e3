"""What the readers of ranks give, step by step, and after a resume on other ranks; prints it as JSON.

``ranks_worker.py FOLDER KIND PLAN`` with PLAN a JSON list of [ranks, workers, batch size, steps], one after the other.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import signal
import sys
import warnings
from pathlib import Path

import torch

from cosmos_lidar.errors import UserError
from tests.energon_tasks.mixes import open_loader


def main() -> None:
    folder, kind, plan = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    gc.collect()
    gc.freeze()  # or every worker process looks through all that is imported: 0.3 s each
    states, steps, error = None, [], ""
    for ranks, workers, batch_size, count in plan:
        loaders = [
            open_loader(
                kind, folder / kind / "a", num_workers=workers, batch_size=batch_size, rank=rank, world_size=ranks
            )
            for rank in range(ranks)
        ]
        try:
            for loader in loaders if states else ():
                loader.restore_state_of_ranks(states)
        except UserError as refused:
            error = str(refused)
            break
        streams = [iter(loader) for loader in loaders]
        for _ in range(count):
            batches = [next(stream) for stream in streams]
            steps.append([[*zip(batch.clip_ids, batch.noise_seeds, strict=True)] for batch in batches])
        states = [loader.save_state_rank() for loader in loaders]
        for worker in multiprocessing.active_children():
            worker.kill()
            worker.join()
    sys.stdout.write("RESULT " + json.dumps({"steps": steps, "error": error}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # an endless loader takes 5 s per worker to be dropped


if __name__ == "__main__":
    main()
