from __future__ import annotations

import torch

from cosmos_lidar.models.sparse.gather_gemm import sparse_conv
from cosmos_lidar.models.sparse.kernel_map import KernelMap

PAIRS = KernelMap(
    sources=torch.tensor([0, 2, 1, 1]), targets=torch.tensor([1, 3, 0, 3]), counts=(2, 0, 1, 1),
    source_count=3, target_count=5,
)  # fmt: skip


def test_gradients_by_finite_differences() -> None:
    torch.manual_seed(0)
    features = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, w: sparse_conv(x, w, PAIRS), (features, weight))


def test_rows_without_pairs_are_zero_and_sums_do_not_vary() -> None:
    torch.manual_seed(0)
    features, weight = torch.randn(3, 2), torch.randn(4, 2, 3)
    out = sparse_conv(features, weight, PAIRS)
    assert out.shape == (5, 3)
    assert not out[[2, 4]].any()
    torch.testing.assert_close(out[3], features[2] @ weight[0] + features[1] @ weight[3])
    assert torch.equal(out, sparse_conv(features, weight, PAIRS))


def test_a_frozen_side_gets_no_gradient() -> None:
    features, weight = torch.randn(3, 2), torch.randn(4, 2, 3, requires_grad=True)
    sparse_conv(features, weight, PAIRS).sum().backward()
    assert weight.grad is not None
    assert not weight.grad[1].any()  # a part without pairs
    assert features.grad is None
