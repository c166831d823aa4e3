"""Helpers between ranks: of two, and of a process that is alone."""

from __future__ import annotations

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.parallel.ranks import broadcast_missing, from_first, gather_objects, is_first


def test_two_ranks(two_ranks: list[dict]) -> None:
    for rank, found in enumerate(two_ranks):
        assert found["objects"] == [{"rank": 0}, {"rank": 1}]
        assert found["missing"] == ["of 1", None, rank]  # from the other rank, from none, not needed
        calls = [0] if rank == 0 else []
        assert found["from first"] == ["made by 0", "refused by 0", calls, rank == 0]


def test_alone() -> None:
    assert gather_objects("x") == ["x"]
    assert broadcast_missing("x") == "x"
    assert broadcast_missing(None) is None
    assert is_first()
    assert from_first(lambda: 7) == 7

    def refuse() -> None:
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        from_first(refuse)
