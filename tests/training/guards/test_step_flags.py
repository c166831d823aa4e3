from __future__ import annotations

import json

import torch

from cosmos_lidar.training.guards.step_flags import NAMES, Votes
from tests.workers.client import torchrun

PROGRAM = """
import json, torch, torch.distributed as dist
from cosmos_lidar.training.guards.step_flags import Votes
dist.init_process_group("gloo")
votes, rank = Votes(), dist.get_rank()
votes.own |= {"loss": 0.1 + rank, "signal": 15.0 * (rank == 1)}
votes.exchange(torch.device("cpu"))
print(json.dumps([votes.everyone, votes.highest("signal"), votes.highest("bad")]))
dist.destroy_process_group()
"""


def test_alone() -> None:
    votes = Votes()
    votes.own |= {"loss": 0.25, "bad": 1.0}
    votes.exchange(torch.device("cpu"))
    assert votes.everyone == {"loss": [0.25], "bad": [1.0], "signal": [0.0], "save_again": [0.0]}
    assert (votes.highest("bad"), votes.highest("signal")) == (1, 0)
    assert tuple(votes.own) == NAMES


def test_every_rank_knows_what_each_said() -> None:
    done = torchrun(2, "-c", PROGRAM)
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first == second
    everyone, signal, bad = first
    assert everyone["loss"] == [0.1, 1.1]  # in float64: as it was
    assert everyone["signal"] == [0.0, 15.0]
    assert (signal, bad) == (15, 0)
