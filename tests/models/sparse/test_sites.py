from __future__ import annotations

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.sparse.keys import pack_keys
from cosmos_lidar.models.sparse.sites import Sites

COORDS = torch.tensor([[1, 5, 5, 5], [0, 1, 2, 3], [0, -4, 0, 0], [3, 0, 0, 9]])


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 1, 0, 3]])
def test_rows_of_keys(order: list[int]) -> None:
    sites = Sites(COORDS[order], clouds=4)
    others = COORDS + torch.tensor([0, 0, 0, 1])
    rows, found = sites.find(pack_keys(torch.cat([COORDS, others])).view(2, 4))
    assert found.tolist() == [[True] * 4, [False] * 4]
    assert torch.equal(sites.coords[rows[0]], COORDS)


def test_clouds_without_voxels_are_counted() -> None:
    assert Sites(COORDS, clouds=5).counts == [2, 1, 0, 1, 0]


def test_a_voxel_twice_is_refused() -> None:
    with pytest.raises(DataError, match=r"1 voxels twice, such as \[0, 1, 2, 3\]"):
        Sites(torch.cat([COORDS, COORDS[1:2]]), clouds=4)
    with pytest.raises(DataError, match="voxels twice"):
        Sites(COORDS[[1, 1]], clouds=4)
