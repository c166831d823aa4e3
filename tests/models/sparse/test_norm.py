from __future__ import annotations

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.sparse import SparseTensor
from cosmos_lidar.models.sparse.norm import SparseBatchNorm, SparseReLU
from tests.models.sparse.dense import random_voxels


def test_statistics_are_those_of_all_voxels_of_the_batch() -> None:
    x = random_voxels()
    norm = SparseBatchNorm(3).double()
    out = norm(x).feats
    mean, variance = x.feats.mean(0), x.feats.var(0, correction=0)
    torch.testing.assert_close(out, (x.feats - mean) / (variance + 1e-5).sqrt())
    torch.testing.assert_close(norm.running_mean, 0.1 * mean.detach())
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * x.feats.var(0).detach())


def test_relu() -> None:
    x = random_voxels()
    wanted = x.feats.clamp(min=0)
    copy = x.with_feats(x.feats.clone())
    assert torch.equal(SparseReLU()(copy).feats, wanted)


def test_a_single_voxel_has_no_variance() -> None:
    x = SparseTensor(torch.zeros(1, 4, dtype=torch.int64), torch.ones(1, 3))
    with pytest.raises(UserError, match="at least 2"):
        SparseBatchNorm(3)(x)
    assert SparseBatchNorm(3).eval()(x).feats.shape == (1, 3)
