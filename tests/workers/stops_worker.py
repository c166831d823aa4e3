"""A loader that is stopped and resumed again and again, beside one that never is; prints what differs as JSON.

``stops_worker.py FOLDER KIND BLEND WORKERS STOPS`` with STOPS a JSON list of lists: batches between the stops of a run.
"""

from __future__ import annotations

import gc
import io
import json
import multiprocessing
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

from cosmos_lidar.training.checkpoint.state_tree import from_plain, to_plain
from tests.energon_tasks.mixes import open_loader, signature

_AFTER = 4  # batches that are compared after the last stop

State = Any  # a plain tree, as checkpoints store it
_runs: dict[tuple[int, ...], tuple[list[tuple], State]] = {}


def read_to_stop(options: dict[str, Any], state: State, batches: int) -> tuple[list[tuple], State]:
    """Return the signatures of the next batches, and the state after them."""
    loader = open_loader(**options)
    if state is not None:
        loader.restore_state_rank(from_plain(stored(state)))
    stream = iter(loader)
    found = [signature(next(stream)) for _ in range(batches)]
    after = to_plain(loader.save_state_rank())
    for worker in multiprocessing.active_children():
        worker.kill()
        worker.join()
    return found, after


def stored(state: State) -> State:
    """Return a state as it comes out of a file."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def stopped(options: dict[str, Any], stops: tuple[int, ...]) -> tuple[list[tuple], State]:
    """Return all batches of a run with these stops, and its state at the last; runs that begin alike are shared."""
    if not stops:
        return [], None
    if stops not in _runs:
        before, state = stopped(options, stops[:-1])
        found, after = read_to_stop(options, state, stops[-1])
        _runs[stops] = before + found, after
    return _runs[stops]


def main() -> None:
    folder, kind, blend, workers, plans = Path(sys.argv[1]), *sys.argv[2:5], json.loads(sys.argv[5])
    frames = {"frames_per_clip": 3} if kind == "sweeps" else {}
    options = {"kind": kind, "path": folder / kind / blend, "num_workers": int(workers), "batch_size": 2, **frames}
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    gc.collect()
    gc.freeze()  # or every worker process looks through all that is imported: 0.3 s each
    whole, _ = read_to_stop(options, None, max(sum(stops) for stops in plans) + _AFTER)
    differ = {}
    for stops in plans:
        batches, state = stopped(options, tuple(stops))
        more, _ = read_to_stop(options, state, _AFTER)
        if batches + more != whole[: len(batches) + _AFTER]:
            differ[json.dumps(stops)] = [batches + more, whole]
    sys.stdout.write("RESULT " + json.dumps({"differ": differ, "whole": whole}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # an endless loader takes 5 s per worker to be dropped


if __name__ == "__main__":
    main()
