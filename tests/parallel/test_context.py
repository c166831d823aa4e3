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


@pytest.mark.parametrize(
    ("ranks", "frames", "per_frame", "wanted"),
    [(2, 2, 2, [0, 1]), (4, 2, 2, [0]), (2, 3, 2, [0, 2, 4]), (6, 4, 3, [0, 3])],
)
def test_frames_are_divided_before_space(ranks: int, frames: int, per_frame: int, wanted: list[int]) -> None:
    """The first rank's tokens of the first view; all ranks together have each once, in whole frames' order."""
    count = frames * per_frame
    tokens, seen, times = torch.arange(2 * count).view(1, -1, 1), [], []
    for rank in range(ranks):
        split = SequenceSplit(SimpleNamespace(size=lambda: ranks, rank=lambda rank=rank: rank))
        own = split.split(2, frames, tokens=tokens)["tokens"].flatten()
        of_frames = split.split_frames(2, torch.arange(2 * frames).view(1, -1, 1)).flatten()
        assert torch.equal(own // per_frame, of_frames.repeat_interleave(len(own) // len(of_frames)))
        seen += own.tolist()
        times.append(own)
    assert times[0][: len(wanted)].tolist() == wanted
    assert sorted(seen) == list(range(2 * count))


def test_sizes_that_divide_frames_and_space_are_named() -> None:
    group = SimpleNamespace(size=lambda: 6, rank=lambda: 0)
    with pytest.raises(UserError, match=r"context=6 does not divide 8 frames of 16 tokens each; valid: 1, 2, 4, 8"):
        SequenceSplit(group).split(1, 8, tokens=torch.zeros(1, 128, 1))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the message asks for")
def test_ring_attention_asks_for_cuda() -> None:
    with pytest.raises(UserError, match="parallel.attention=ring needs CUDA"):
        ring(torch_ops.attention, SimpleNamespace())
