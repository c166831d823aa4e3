from __future__ import annotations

from pathlib import Path

import pytest

from tests.parallel.ranks import results_of_ranks


@pytest.mark.parametrize("ranks", [2, 3])
def test_views_spread_over_ranks_are_those_of_one(ranks: int, tmp_path: Path):
    """Fewer views than ranks, as many, more; trimmed frames; a second time from the cache."""
    results = results_of_ranks(ranks, "shared_views_worker.py", str(tmp_path))
    assert results.pop("refused") == {"difference": 0.0}
    assert list(results) == ["1 views", "2 views", "3 views", "5 views"]
    for name, found in results.items():
        assert found["difference"] < 1e-6, name
        assert found["encoded"] == int(name.split()[0])  # each view by one rank
        assert found["again"] == 0
