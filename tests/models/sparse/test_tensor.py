from __future__ import annotations

import pytest
import torch

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.models.sparse import SparseConv3d, SparseTensor
from cosmos_lidar.models.sparse.tensor import cat_feats
from tests.models.sparse.dense import random_voxels

COORDS = torch.tensor([[0, 1, 2, 3], [2, 0, 0, 1]], dtype=torch.int32)


def test_a_dense_grid_and_clouds_without_voxels() -> None:
    x = SparseTensor(COORDS, torch.tensor([[1.0, 2.0], [3.0, 4.0]]), clouds=4)
    dense = x.dense((2, 3, 4))
    assert dense.shape == (4, 2, 4, 3, 2)
    assert dense[0, :, 3, 2, 1].tolist() == [1.0, 2.0]
    assert dense[2, :, 1, 0, 0].tolist() == [3.0, 4.0]
    assert dense.sum() == 10
    assert x.clouds == 4
    assert SparseTensor(COORDS, torch.ones(2, 1)).clouds == 3


def test_an_empty_second_cloud_passes_through_a_network() -> None:
    x = random_voxels(clouds=1)
    both = SparseTensor(x.coords, x.feats, clouds=2)
    conv = SparseConv3d(3, 4, kernel_size=2, stride=2).double()
    out = conv(both)
    assert (out.clouds, out.sites.counts[1]) == (2, 0)
    torch.testing.assert_close(out.feats, conv(SparseTensor(x.coords, x.feats)).feats)


def test_all_points_in_one_voxel() -> None:
    x = SparseTensor(torch.tensor([[0, 7, 7, 7]]), torch.ones(1, 3))
    conv = SparseConv3d(3, 4)
    torch.testing.assert_close(conv(x).feats, x.feats @ conv.kernel[13])


@pytest.mark.parametrize(
    ("feats", "options", "message"),
    [
        (torch.ones(3, 1), {}, r"\(3, 1\) and torch.float32 for 2 voxels"),
        (torch.ones(2), {}, r"shape \(2,\)"),
        (torch.ones(2, 1, dtype=torch.int64), {}, "int64"),
        (torch.ones(2, 1), {"clouds": 2}, "batch index 2 with 2 clouds"),
        (torch.ones(2, 1), {"shape": (2, 2, 4)}, "y from 0 to 2"),
    ],
)
def test_what_does_not_fit_is_refused(feats: torch.Tensor, options: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        SparseTensor(COORDS, feats, **options)


def test_features_at_other_sites_are_not_concatenated() -> None:
    x, other = random_voxels(), random_voxels()
    assert cat_feats(x, x).feats.shape[1] == 6
    with pytest.raises(UserError, match="different sites"):
        cat_feats(x, other)
    with pytest.raises(UserError, match="expected a shape"):
        SparseTensor(COORDS, torch.ones(2, 1)).dense()
