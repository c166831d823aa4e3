"""The TransformerEngine side, against a stand-in with its interface: the real one needs CUDA."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from types import ModuleType

import pytest
import torch
from torch import nn

from cosmos_lidar import kernels
from cosmos_lidar.errors import UserError


class StandInLinear(nn.Module):
    """Another class than nn.Linear, fresh values, and an extra entry in the state, as TransformerEngine's."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool, params_dtype: torch.dtype, device: object) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(outputs, inputs, dtype=params_dtype, device=device))
        if bias:
            self.bias = nn.Parameter(torch.ones(outputs, dtype=params_dtype, device=device))
        else:
            self.bias = torch.empty(0)

    def get_extra_state(self) -> torch.Tensor:
        return torch.zeros(3)

    def set_extra_state(self, state: torch.Tensor) -> None:
        raise AssertionError("no such state is saved")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.weight, self.bias if len(self.bias) else None)


class StandInAttention:
    def __init__(self, heads: int, channels: int, **options: object) -> None:
        self.sizes, self.options = (heads, channels), options

    def __call__(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        options = self.options["qkv_format"], self.options["attn_mask_type"]
        assert (q.shape[2:], options) == (self.sizes, ("bshd", "no_mask"))
        out = nn.functional.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)))
        return out.transpose(1, 2).flatten(2)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(32, 48), nn.GELU(), nn.Linear(48, 32, bias=False))
        self.odd = nn.Linear(32, 20)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.odd(self.layers(x))


@pytest.fixture(params=["autocast", "fp8_autocast"])
def contexts(request, monkeypatch):
    """Installs the stand-in, with the old or the new name of its FP8 context; returns what the contexts were given."""
    seen: list = []

    @contextmanager
    def new(enabled: bool, recipe: object):
        seen.append(recipe if enabled else None)
        yield

    @contextmanager
    def old(enabled: bool, fp8_recipe: object):
        seen.append(fp8_recipe if enabled else None)
        yield

    package, pytorch, common, recipe = (ModuleType(f"transformer_engine{name}") for name in
                                        ("", ".pytorch", ".common", ".common.recipe"))  # fmt: skip
    pytorch.Linear, pytorch.DotProductAttention = StandInLinear, StandInAttention
    setattr(pytorch, request.param, new if request.param == "autocast" else old)
    recipe.Float8CurrentScaling = type("Float8CurrentScaling", (), {})
    recipe.MXFP8BlockScaling = type("MXFP8BlockScaling", (), {})
    package.pytorch, package.common, common.recipe = pytorch, common, recipe
    for module in (package, pytorch, common, recipe):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "cosmos_lidar.kernels.te_ops", raising=False)
    monkeypatch.setattr(kernels, "obstacle", lambda backend, device: "")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    yield seen
    sys.modules.pop("cosmos_lidar.kernels.te_ops", None)
    vars(kernels).pop("te_ops", None)


def test_linears_keep_names_values_and_gradients(contexts):
    network, x = Net(), torch.randn(2, 8, 32)
    network.layers[0].bias.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    wanted = network(x)
    assert kernels.replace_linears(network, "current") == ["layers.0", "layers.2"]
    assert isinstance(network.layers[0], StandInLinear)
    assert type(network.odd) is nn.Linear  # 20 is no multiple of 16
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert [p.requires_grad for p in network.parameters()] == [True, False, True, True, True]
    assert torch.equal(network(x), wanted)
    assert [type(recipe).__name__ for recipe in contexts] == ["Float8CurrentScaling"] * 2
    network.load_state_dict(before)


def test_rows_that_do_not_fit_run_without_fp8(contexts):
    network = Net()
    kernels.replace_linears(network, "current", ["layers.0"])
    network(torch.randn(3, 32))
    network(torch.randn(2, 16, 32))
    assert [type(recipe).__name__ for recipe in contexts] == ["NoneType", "Float8CurrentScaling"]


def test_none_swaps_everything_without_fp8(contexts):
    network = Net()
    assert kernels.replace_linears(network, "none") == ["layers.0", "layers.2", "odd"]
    network(torch.randn(3, 32))
    assert contexts == [None] * 3


@pytest.mark.parametrize(
    ("recipe", "names", "message"),
    [
        ("delayed", None, "unknown FP8 recipe 'delayed'; valid: none, current, block, mxfp8"),
        ("mxfp8", None, r"FP8 recipe 'mxfp8' needs compute capability \(10, 0\), cpu has \(9, 0\)"),
        ("current", ["layers.1"], "'layers.1' is no linear layer of this network"),
    ],
)
def test_wrong_wishes(contexts, recipe, names, message):
    network = Net()
    with pytest.raises(UserError, match=message):
        kernels.replace_linears(network, recipe, names)
    assert type(network.layers[0]) is nn.Linear


def test_linears_without_transformer_engine():
    with pytest.raises(UserError, match="kernels.linear=te: cpu is no CUDA device"):
        kernels.replace_linears(Net(), "current")


def test_attention_keeps_the_layout(contexts):
    from cosmos_lidar.kernels import te_ops

    for heads, channels in ((3, 8), (2, 16)):
        q, k, v = torch.randn(2, 5, heads, channels), *torch.randn(2, 2, 7, heads, channels)
        torch.testing.assert_close(te_ops.attention(q, k, v), kernels.attention(q, k, v))
