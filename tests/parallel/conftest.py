from __future__ import annotations

import pytest

from tests.parallel.ranks import results_of_ranks


@pytest.fixture(scope="session")
def two_ranks() -> list[dict]:
    """What each of two ranks found in collectives_worker.py."""
    return results_of_ranks(2, "collectives_worker.py")
