from __future__ import annotations

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.sparse.keys import HIGHEST, LOWEST, MOST_CLOUDS, check_coords, pack_keys, shifts, unpack_keys

CORNERS = torch.cartesian_prod(
    torch.tensor([0, 1, MOST_CLOUDS - 1]), *[torch.tensor([LOWEST, -1, 0, 1, HIGHEST])] * 3
)  # in lexicographic order


def test_keys_have_the_order_of_coordinates_and_give_them_back() -> None:
    keys = pack_keys(CORNERS)
    check_coords(CORNERS)
    assert bool((keys[1:] > keys[:-1]).all())
    assert torch.equal(unpack_keys(keys), CORNERS)


def test_a_neighbor_is_a_constant_away_also_at_the_border() -> None:
    offsets = torch.cartesian_prod(*[torch.tensor([-64, -1, 0, 1, 64])] * 3)
    moved = CORNERS[:, None] + torch.nn.functional.pad(offsets, (1, 0))
    keys = pack_keys(CORNERS)[:, None] + shifts(offsets)
    assert torch.equal(unpack_keys(keys.flatten()), moved.flatten(0, 1))
    assert len(pack_keys(moved.flatten(0, 1)).unique()) == len(moved.flatten(0, 1).unique(dim=0))


@pytest.mark.parametrize(
    ("coords", "message"),
    [
        (torch.zeros(0, 4, dtype=torch.int64), "empty sweep"),
        (torch.zeros(3, 3, dtype=torch.int64), r"shape \(3, 3\)"),
        (torch.zeros(3, 4), "float32"),
        (torch.zeros(3, 4, dtype=torch.bool), "bool"),
        (torch.tensor([[-1, 0, 0, 0]]), "batch index from -1"),
        (torch.tensor([[MOST_CLOUDS, 0, 0, 0]]), f"batch index from {MOST_CLOUDS}"),
        (torch.tensor([[0, 0, 0, 0], [0, 0, HIGHEST + 1, 0]]), f"y from 0 to {HIGHEST + 1}"),
        (torch.tensor([[0, 0, 0, LOWEST - 1]]), "z from"),
        (torch.tensor([[0, -(2**31), 0, 0]], dtype=torch.int32), "x from -2147483648"),
    ],
)
def test_what_has_no_key_is_refused(coords: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_coords(coords)
