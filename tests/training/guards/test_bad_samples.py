"""The budget over ranks: all damaged samples may lie in the share of one of them."""

from __future__ import annotations

import json

from tests.workers.client import torchrun

PROGRAM = """
import json, sys, torch, torch.distributed as dist
from types import SimpleNamespace
from cosmos_lidar.errors import DataError
from cosmos_lidar.training.guards.bad_samples import BadSamples
from cosmos_lidar.training.guards.step_flags import StepFlags
from energon_tasks.skips import SkipReport
dist.init_process_group("gloo")
rank, flags = dist.get_rank(), StepFlags()
report = SkipReport(0.001, expected=4000)  # four samples
guard = BadSamples(report, flags, same_data=int(sys.argv[2]))
ended = []
for step, bad in enumerate(json.loads(sys.argv[1])[rank]):
    for number in range(bad):
        report._note({"folder": "f", "shard": "s", "key": f"{rank}/{step}/{number}", "problem": f"of rank {rank}"})
    guard.on_train_batch_start(None, None, None, 0)
    flags.exchange(torch.device("cpu"))
    try:
        guard.on_train_batch_end(None, None, None, None, 0)
    except DataError as error:
        ended = [step, str(error)]
        break
print(json.dumps(ended))
dist.destroy_process_group()
"""


def ends(bad: list[list[int]], same_data: int = 1) -> list:
    done = torchrun(len(bad), "-c", PROGRAM, json.dumps(bad), same_data)
    assert done.returncode == 0, done.stderr[-2000:]
    first, *others = (json.loads(line) for line in done.stdout.splitlines())
    assert all(other == first for other in others)  # all stop at the same step, and say the same
    return first


def test_ranks_stop_together_when_all_their_bad_samples_are_too_many() -> None:
    assert ends([[0, 0, 0], [2, 1, 1]]) == []  # four of 4000, all on one rank
    step, text = ends([[1, 0, 0], [2, 1, 1]])
    assert step == 2
    assert text.startswith("5 samples cannot be used, of 4000; the last: of rank 1 ")


def test_ranks_that_share_samples_count_once() -> None:
    assert ends([[2, 1, 1], [2, 1, 1]], same_data=2) == []
