from __future__ import annotations

import json

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.parallel.work_sharing import Share, shared_work
from tests.workers.client import torchrun

PROGRAM = """
import json, sys
from cosmos_lidar.parallel.work_sharing import shared_work
with shared_work(int(sys.argv[1])) as share:
    together = share.context is not None and share.context.size()
    line = json.dumps([share.rank, share.world, together, share.writes])
    share.wait()
import torch.distributed as dist
assert not dist.is_initialized()
print(line)
"""


@pytest.mark.parametrize(
    ("context", "shares"),
    [
        (1, [[0, 4, False, True], [1, 4, False, True], [2, 4, False, True], [3, 4, False, True]]),
        (2, [[0, 2, 2, True], [0, 2, 2, False], [1, 2, 2, True], [1, 2, 2, False]]),
    ],
)
def test_places_of_four_processes(context: int, shares: list) -> None:
    done = torchrun(4, "-c", PROGRAM, context)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [json.loads(line) for line in done.stdout.splitlines()] == shares


def test_one_process_has_all_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with shared_work() as share:
        assert share == Share(0, 1)
        assert share.writes
        share.wait()
        assert share.device(torch.device("cuda")) == torch.device("cuda")


def test_numbers_that_do_not_divide_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UserError, match="2 processes for each piece of work, of 3"), shared_work(2):
        pass
