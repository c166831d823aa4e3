from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.sparse import SparseConv3d, SparseTensor
from tests.models.sparse.dense import dense_kernel, dense_output, random_voxels

VECTORS = np.load(Path(__file__).parents[2] / "vectors" / "sparse.npz")
CONVOLUTIONS = {
    "kernel 1": {"kernel_size": 1},
    "kernel 3": {},
    "kernel (1, 1, 3)": {"kernel_size": (1, 1, 3)},
    "kernel (5, 3, 1)": {"kernel_size": (5, 3, 1)},
    "stride 2": {"kernel_size": 2, "stride": 2},
    "stride 2, kernel 3": {"kernel_size": 3, "stride": 2, "padding": 1},
    "stride 2, kernel 3, no padding along z": {"kernel_size": 3, "stride": 2, "padding": (1, 1, 0)},
    "stride (1, 1, 2)": {"kernel_size": (1, 1, 3), "stride": (1, 1, 2)},
}


def convolution(out_channels: int = 4, **options: object) -> SparseConv3d:
    torch.manual_seed(1)
    return SparseConv3d(3, out_channels, **options).double()


@pytest.mark.parametrize("layout", ["torchsparse", "spconv"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_dense_convolution_gives_the_same(name: str, layout: str) -> None:
    conv, x = convolution(layout=layout, **CONVOLUTIONS[name]), random_voxels()
    out = conv(x)
    dense = dense_output(x, conv)
    batch, i, j, k = out.coords.unbind(1)
    torch.testing.assert_close(out.feats, dense[batch, :, k, j, i], rtol=1e-12, atol=1e-12)
    if not conv.submanifold:  # a site wherever a kernel meets an input
        occupied = x.with_feats(torch.ones_like(x.feats[:, :1])).dense()
        reached = F.conv3d(occupied, torch.ones_like(dense_kernel(conv)[:1, :1]), stride=conv.step.stride[::-1],
                           padding=conv.step.padding[::-1])  # fmt: skip
        assert int((reached > 0).sum()) == len(out.coords)
        assert out.sites.shape == tuple(reversed(dense.shape[2:]))


@pytest.mark.parametrize("layout", ["torchsparse", "spconv"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_gradients_of_a_dense_convolution(name: str, layout: str) -> None:
    conv, x = convolution(layout=layout, **CONVOLUTIONS[name]), random_voxels()
    (weight,) = conv.parameters()
    out = conv(x)
    factors = torch.randn(out.feats.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    sparse = torch.autograd.grad((out.feats * factors).sum(), [x.feats, weight])
    batch, i, j, k = out.coords.unbind(1)
    total = (dense_output(x, conv)[batch, :, k, j, i] * factors).sum()
    for found, wanted in zip(sparse, torch.autograd.grad(total, [x.feats, weight]), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("options", [{"kernel_size": 2}, {"kernel_size": 3, "padding": 1}])
@pytest.mark.parametrize("layout", ["torchsparse", "spconv"])
def test_an_inverse_convolution_is_a_dense_transposed_one_at_the_voxels(options: dict, layout: str) -> None:
    x = random_voxels(shape=(9, 7, 5))
    down = convolution(stride=2, layout=layout, **options)
    up = SparseConv3d(4, 5, kernel_size=options["kernel_size"], stride=2, inverse=True, layout=layout).double()
    small = down(x)
    out = up(small)
    dense = F.conv_transpose3d(
        small.dense(), dense_kernel(up).transpose(0, 1), stride=2, padding=options.get("padding", 0)
    )
    missing = [total - length for total, length in zip((5, 7, 9), dense.shape[2:], strict=True)]
    dense = F.pad(dense, (0, missing[2], 0, missing[1], 0, missing[0]))
    batch, i, j, k = x.coords.unbind(1)
    assert out.level == x.level
    torch.testing.assert_close(out.feats, dense[batch, :, k, j, i], rtol=1e-12, atol=1e-12)


def test_published_kernel_orders() -> None:
    v = {name: torch.from_numpy(VECTORS[name]) for name in VECTORS.files if name.startswith("B_")}
    coords = v["B_coords"].roll(1, 1)  # batch last in the vectors
    x = SparseTensor(coords, v["B_feats"])

    def conv(weight: str, size: int, **options: object) -> SparseConv3d:
        kernel = v[weight]
        made = SparseConv3d(*kernel.shape[-2:], kernel_size=size, **options)
        made.load_state_dict({"kernel": kernel})
        return made

    first = conv("B_w3", 3)(x)
    down = conv("B_w2", 2, stride=2)(first)
    deep = conv("B_wd", 3)(down)
    up = conv("B_wt", 2, stride=2, inverse=True)(deep)
    assert down.stride == (2, 2, 2)
    published = v["B_coords_s2"].roll(1, 1) // torch.tensor([1, 2, 2, 2])
    same = (published[:, None] == down.coords).all(2).nonzero()[:, 1]
    for found, wanted in (
        (first.feats, "B_out_k3s1"),
        (down.feats[same], "B_out_k2s2"),
        (deep.feats[same], "B_out_k3_at_s2"),
        (up.feats, "B_out_tr_k2s2"),
        (conv("B_w1", 1)(x).feats, "B_out_k1"),
    ):
        torch.testing.assert_close(found, v[wanted], rtol=1e-5, atol=1e-6)


def test_neither_order_nor_company_matters() -> None:
    conv, x = convolution(), random_voxels()
    order = torch.randperm(len(x.coords), generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(conv(SparseTensor(x.coords[order], x.feats[order])).feats, conv(x).feats[order])
    alone = x.coords[:, 0] == 1
    moved = x.coords[alone] - torch.tensor([1, 40, -40, 4])
    torch.testing.assert_close(conv(SparseTensor(moved, x.feats[alone])).feats, conv(x).feats[alone])


def test_maps_are_built_once_and_shared() -> None:
    x = random_voxels()
    down = convolution(kernel_size=2, stride=2)(x)
    up = SparseConv3d(4, 3, kernel_size=2, stride=2, inverse=True).double()(down)
    built = dict(x.maps._maps)
    again = convolution(kernel_size=2, stride=2)(up)
    assert again.sites is down.sites
    assert x.maps._maps == built


def test_half_precision_by_autocast() -> None:
    conv, x = convolution().float(), random_voxels()
    x = x.with_feats(x.feats.float())
    exact = conv(x).feats
    with torch.autocast("cpu", torch.bfloat16):
        half = conv(x).feats
    assert half.dtype is torch.bfloat16
    torch.testing.assert_close(half.float(), exact, rtol=0.05, atol=0.05)
    half.float().sum().backward()
    assert conv.kernel.grad is not None
    assert conv.kernel.grad.dtype is torch.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 2}, "odd sizes"),
        ({"padding": 1}, "expected 0"),
        ({"stride": 0}, "positive"),
        ({"layout": "minkowski"}, "valid: torchsparse, spconv"),
    ],
)
def test_impossible_options(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        SparseConv3d(3, 4, **options)


def test_wrong_inputs_are_named() -> None:
    x = random_voxels()
    with pytest.raises(UserError, match="3 channels: expected 4"):
        SparseConv3d(4, 4).double()(x)
    up = SparseConv3d(3, 4, kernel_size=2, stride=2, inverse=True).double()
    with pytest.raises(UserError, match="no convolution did"):
        up(x)
    with pytest.raises(UserError, match=r"kernel \(3, 3, 3\), stride \(2, 2, 2\) made them"):
        up(convolution(out_channels=3, stride=2, padding=1)(x))
