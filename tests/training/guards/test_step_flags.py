from __future__ import annotations

import json

import torch

from cosmos_lidar.training.guards.step_flags import NAMES, StepFlags
from tests.workers.client import torchrun

PROGRAM = """
import json, torch, torch.distributed as dist
from cosmos_lidar.training.guards.step_flags import StepFlags
dist.init_process_group("gloo")
flags, rank = StepFlags(), dist.get_rank()
flags.own |= {"loss": 0.1 + rank, "signal": 15.0 * (rank == 1)}
flags.exchange(torch.device("cpu"))
print(json.dumps([flags.ranks, flags.max_over_ranks("signal"), flags.max_over_ranks("bad")]))
dist.destroy_process_group()
"""


def test_alone() -> None:
    flags = StepFlags()
    flags.own |= {"loss": 0.25, "bad": 1.0}
    flags.exchange(torch.device("cpu"))
    assert flags.ranks == {name: [0.0] for name in NAMES} | {"loss": [0.25], "bad": [1.0]}
    assert (flags.max_over_ranks("bad"), flags.max_over_ranks("signal")) == (1, 0)
    assert tuple(flags.own) == NAMES


def test_every_rank_knows_what_each_said() -> None:
    done = torchrun(2, "-c", PROGRAM)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first == second
    everyone, signal, bad = first
    assert everyone["loss"] == [0.1, 1.1]  # in float64: as it was
    assert everyone["signal"] == [0.0, 15.0]
    assert (signal, bad) == (15, 0)
