"""Rendezvous of ranks that a batch system starts (one process each, no agent between them)."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.workers.client import python

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys, time
from cosmos_lidar.errors import RanksMissingError
from cosmos_lidar.parallel.mesh import process_rank, start_processes
try:
    for _ in range(2):  # a process may train twice
        start_processes("cpu", float(sys.argv[1]))
        import torch, torch.distributed as dist
        total = torch.tensor(float(process_rank()))
        dist.all_reduce(total)
        print(float(total), dist.get_world_size())
        dist.barrier()
        dist.destroy_process_group()
except RanksMissingError as error:
    print("missing:", error)
"""


def start(ranks: list[int], world: int, timeout_s: float) -> list[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base: dict[str, str | None] = dict.fromkeys(name for name in os.environ if name.startswith("TORCHELASTIC"))
    base |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world), "PYTHONPATH": str(ROOT)}

    def run(rank: int) -> str:
        return python("-c", PROGRAM, timeout_s, env=base | {"RANK": str(rank)}).stdout

    with ThreadPoolExecutor(len(ranks)) as pool:
        return list(pool.map(run, ranks))


def test_ranks_meet_and_meet_again() -> None:
    assert start([0, 1, 2], 3, 600) == ["3.0 3\n3.0 3\n"] * 3


def test_ranks_that_do_not_arrive_are_named() -> None:
    assert start([0], 4, 1) == ["missing: ranks 1, 2, 3 of 4 did not arrive within 1 s\n"]


def test_a_first_rank_that_does_not_arrive_is_named() -> None:
    (said,) = start([1], 2, 1)
    assert said.startswith("missing: rank 0 cannot be reached at 127.0.0.1:")
