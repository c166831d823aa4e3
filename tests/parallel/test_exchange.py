"""Collectives whose gradients come back: values and gradients of two ranks against sums written out."""

from __future__ import annotations

import pytest
import torch

from tests.workers.collectives_worker import numbers


def same(found: list, wanted: torch.Tensor) -> None:
    assert torch.allclose(torch.tensor(found, dtype=torch.float64), wanted, atol=1e-12)


@pytest.mark.parametrize("rank", [0, 1])
def test_gathered_tensors(two_ranks: list[dict], rank: int) -> None:
    found = two_ranks[rank]["exchanges"]
    same(found["gathered"], torch.stack([numbers(2, 4, seed=r) for r in (0, 1)]))
    # this rank's tensor is used by both, each with weights of its own
    same(found["gathered gradient"], sum(numbers(2, 2, 4, seed=10 + r)[rank] for r in (0, 1)))


@pytest.mark.parametrize("rank", [0, 1])
def test_gathered_rows_of_unlike_numbers(two_ranks: list[dict], rank: int) -> None:
    """Rank 0 has one row, rank 1 has three."""
    found = two_ranks[rank]["exchanges"]
    same(found["rows"], torch.cat([numbers(1, 2, seed=50), numbers(3, 2, seed=51)]))
    assert found["first row"] == rank
    own = slice(0, 1) if rank == 0 else slice(1, 4)
    same(found["rows gradient"], sum(numbers(4, 2, seed=60 + r)[own] for r in (0, 1)))


@pytest.mark.parametrize("rank", [0, 1])
def test_sums(two_ranks: list[dict], rank: int) -> None:
    found = two_ranks[rank]["exchanges"]
    same(found["sum"], numbers(3, seed=0) + numbers(3, seed=1))
    same(found["sum gradient"], numbers(3, seed=20) + numbers(3, seed=21))


@pytest.mark.parametrize("rank", [0, 1])
def test_rows_against_columns(two_ranks: list[dict], rank: int) -> None:
    """Rank r keeps rows 2 r and 2 r + 1 of both, side by side; gradients of rows go back to where they came from."""
    found = two_ranks[rank]["exchanges"]
    rows = slice(2 * rank, 2 * rank + 2)
    same(found["swapped"], torch.cat([numbers(4, 3, seed=r)[rows] for r in (0, 1)], dim=1))
    columns = slice(3 * rank, 3 * rank + 3)
    same(found["swapped gradient"], torch.cat([numbers(2, 6, seed=30 + r)[:, columns] for r in (0, 1)]))
