"""What can be tested without a GPU: the table that spconv is given, the check that it has to pass, and refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.sparse import build_backbone
from cosmos_lidar.models.sparse.gather_gemm import sparse_conv
from cosmos_lidar.models.sparse.kernel_map import KernelMap, Step, kernel_cells, strided_map, submanifold_map
from cosmos_lidar.models.sparse.spconv_backend import check_convolution, pair_table, use_backend
from tests.models.sparse.dense import random_voxels
from tests.models.sparse.test_kernel_map import pairs_of

CPU = torch.device("cpu")


def by_table(features: Tensor, weight: Tensor, pairs: KernelMap) -> Tensor:
    """Convolve by the table that spconv is given, one part after the other."""
    table, counts = pair_table(pairs)
    out = features.new_zeros(pairs.target_count, weight.shape[2])
    for part, count in enumerate(counts.tolist()):
        sources, targets = table[:, part, :count].long()
        out = out.index_add(0, targets, features[sources] @ weight[part])
    return out


def test_the_table_has_all_pairs() -> None:
    sites, step = random_voxels().sites, Step((2, 2, 2), (2, 2, 2), (0, 0, 0))
    for pairs in (
        submanifold_map(sites, kernel_cells((3, 3, 3))),
        strided_map(sites, step, kernel_cells(step.kernel))[1],
    ):
        table, counts = pair_table(pairs)
        assert table.dtype is counts.dtype is torch.int32
        assert table.shape == (2, len(pairs.counts), int(counts.max()))
        listed = {
            (part, source, target)
            for part, rows in enumerate(table.permute(1, 2, 0).tolist())
            for source, target in rows[: counts[part]]
        }
        assert listed == pairs_of(pairs)
        assert all((table[:, part, count:] == -1).all() for part, count in enumerate(counts.tolist()))


def test_a_convolution_that_is_right_passes_the_check() -> None:
    check_convolution(by_table, CPU)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x, w, p: sparse_conv(x, w.flip(0), p), "outputs differ"),
        (lambda x, w, p: sparse_conv(x, w, p) + 0 * x.sum() + (x - x.detach()).sum(), "gradients of inputs differ"),
        (lambda x, w, p: sparse_conv(x, w, p) + (w - w.detach()).sum(), "of weights differ"),
        (lambda x, w, p: sparse_conv(x, w, p) * float("nan"), "outputs differ .* nan"),
    ],
)
def test_a_convolution_that_is_wrong_is_refused(wrong: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_convolution(wrong, CPU)


def test_choices() -> None:
    network = build_backbone("minkunet18", 1, 0)
    assert use_backend(network, "torch") is network
    with pytest.raises(UserError, match="is on cpu, expected cuda"):
        use_backend(network, "spconv")
    with pytest.raises(UserError, match="valid: torch, spconv"):
        use_backend(network, "warpconvnet")
