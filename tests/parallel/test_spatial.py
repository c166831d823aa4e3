from __future__ import annotations

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.parallel.spatial import check_width
from tests.parallel.ranks import results_of_ranks


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_tokenizer_on_slices_of_the_width_is_that_of_one_process(processes: int) -> None:
    results = results_of_ranks(processes, "spatial_worker.py")
    assert len(results) == 7
    for name, differences in results.items():
        limit = 1e-12 if "float64" in name or name == "DV8x16x16" else 1e-5
        for quantity in ("latent", "reconstruction", "gradients"):
            assert differences[quantity] < limit, (name, quantity, differences)


def test_width_that_cannot_be_shared_names_the_next_sizes() -> None:
    check_width(64, 4, 8)
    with pytest.raises(UserError, match="a width of 72 cannot be shared by 4 processes.*valid: 64 or 96"):
        check_width(72, 4, 8)
