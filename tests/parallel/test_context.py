"""Attention over a sequence that two ranks share, against attention of one process."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.kernels import torch_ops
from cosmos_lidar.parallel.context import SequenceSplit, ring
from tests.workers.collectives_worker import numbers


@pytest.mark.parametrize("kind", ["ulysses", "gather"])
def test_attention_of_shares_is_that_of_the_whole(two_ranks: list[dict], kind: str) -> None:
    q, k, v = (numbers(1, 8, 6, seed=seed).unflatten(-1, (2, 3)) for seed in range(3))
    whole = torch_ops.attention(q, k, v).flatten(2)
    for rank in two_ranks:
        assert torch.allclose(torch.tensor(rank["attention"][kind], dtype=torch.float64), whole, atol=1e-12)


def test_each_rank_takes_its_share_of_every_view() -> None:
    tokens = torch.arange(12).view(1, 12, 1)  # two views of six
    for rank, wanted in ((0, [0, 1, 2, 6, 7, 8]), (1, [3, 4, 5, 9, 10, 11])):
        group = SimpleNamespace(size=lambda: 2, rank=lambda rank=rank: rank)
        assert SequenceSplit(group).split(2, tokens=tokens)["tokens"].flatten().tolist() == wanted
    group = SimpleNamespace(size=lambda: 4, rank=lambda: 0)
    with pytest.raises(UserError, match="parallel.context=4 does not divide the 6 tokens of a view"):
        SequenceSplit(group).split(2, tokens=tokens)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the message asks for")
def test_ring_attention_asks_for_cuda() -> None:
    with pytest.raises(UserError, match="parallel.attention=ring needs CUDA"):
        ring(torch_ops.attention, SimpleNamespace())
