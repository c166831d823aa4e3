"""Calls of TransformerEngine and apex, bound to the parameters of their published sources; neither is needed.

The names are those that TransformerEngine's sources before and since 2.9 share, and those of NVIDIA/apex; parameters
that single releases add are left out, so that a call that binds here binds to each of them.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from inspect import Parameter, Signature
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from cosmos_lidar import kernels

# transformer_engine/pytorch/module/linear.py, attention/dot_product_attention (attention.py before 2.3),
# quantization.py (fp8.py before 2.9), common/recipe/__init__.py.
LINEAR = (
    "in_features out_features sequence_parallel= fuse_wgrad_accumulation= tp_group= tp_size= get_rng_state_tracker= "
    "init_method= bias= return_bias= params_dtype= parallel_mode= parameters_split= device= ub_name="
)
ATTENTION = (
    "num_attention_heads kv_channels num_gqa_groups= attention_dropout= qkv_format= attn_mask_type= sequence_parallel= "
    "tp_size= get_rng_state_tracker= tp_group= layer_number= attention_type= cp_group= cp_global_ranks= cp_stream= "
    "softmax_scale="
)
ATTENTION_FORWARD = "query_layer key_layer value_layer attention_mask= qkv_format= cu_seqlens_q= cu_seqlens_kv="
AUTOCAST = "enabled= calibrating= recipe= amax_reduction_group= _graph="  # since 2.9
FP8_AUTOCAST = "enabled= calibrating= fp8_recipe= fp8_group= _graph="
RECIPES = ("Float8CurrentScaling", "Float8BlockScaling", "MXFP8BlockScaling")
# apex/normalization/fused_layer_norm.py, apex/multi_tensor_apply, csrc/multi_tensor_adam.cu
RMS_NORM = "input weight normalized_shape eps= memory_efficient="
LAYER_NORM = "input normalized_shape eps= memory_efficient="
ADAM = "chunk_size noop_flag tensor_lists lr beta1 beta2 epsilon step mode bias_correction weight_decay"


def signature(text: str) -> Signature:
    """Return the signature of a text: a name with ``=`` has a default."""
    names = [(name.rstrip("="), None if name.endswith("=") else Parameter.empty) for name in text.split()]
    return Signature([Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=value) for name, value in names])


def bound(text: str, calls: list[dict[str, Any]], result: Callable[[dict[str, Any]], Any]) -> Callable[..., Any]:
    """Return a function of these parameters that notes its arguments; a TypeError where they do not fit."""

    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append(dict(signature(text).bind(*args, **kwargs).arguments))
        return result(calls[-1])

    return call


def install(monkeypatch: pytest.MonkeyPatch, **modules: dict[str, Any]) -> None:
    for name, content in modules.items():
        module = ModuleType(name.replace("__", "."))
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        parent, _, last = module.__name__.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, module)


@pytest.fixture(params=["autocast", "fp8_autocast"])
def te(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, list[dict[str, Any]]]]:
    calls: dict[str, list[dict[str, Any]]] = {name: [] for name in ("Linear", "Attention", "forward", "autocast")}

    class Linear(nn.Module):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__()
            given = bound(LINEAR, calls["Linear"], dict)(*args, **kwargs)
            self.weight = nn.Parameter(torch.zeros(given["out_features"], given["in_features"]))

        def forward(self, inp: torch.Tensor) -> torch.Tensor:
            return inp @ self.weight.T

    class DotProductAttention:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            bound(ATTENTION, calls["Attention"], dict)(*args, **kwargs)

        def __call__(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            return bound(ATTENTION_FORWARD, calls["forward"], lambda given: given["query_layer"])(*args, **kwargs)

    text = AUTOCAST if request.param == "autocast" else FP8_AUTOCAST
    context = bound(text, calls["autocast"], lambda _: nullcontext())
    recipes = {name: type(name, (), {}) for name in RECIPES}
    pytorch = {"Linear": Linear, "DotProductAttention": DotProductAttention, request.param: context}
    install(monkeypatch, transformer_engine={}, transformer_engine__common={},
            transformer_engine__common__recipe=recipes, transformer_engine__pytorch=pytorch)  # fmt: skip
    monkeypatch.delitem(sys.modules, "cosmos_lidar.kernels.te_ops", raising=False)
    monkeypatch.setattr(kernels, "obstacle", lambda backend, device: "")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (10, 0))
    yield calls
    sys.modules.pop("cosmos_lidar.kernels.te_ops", None)
    vars(kernels).pop("te_ops", None)


@pytest.mark.parametrize(("recipe", "name"), zip(("current", "block", "mxfp8"), RECIPES, strict=True))
def test_linear_layers_and_their_recipes(te: dict[str, list[dict[str, Any]]], recipe: str, name: str) -> None:
    network = nn.Sequential(nn.Linear(128, 256, bias=False))
    assert kernels.replace_linears(network, recipe) == ["0"]
    network(torch.zeros(128, 128))
    (made,) = te["Linear"]
    assert (made["in_features"], made["out_features"], made["bias"]) == (128, 256, False)
    assert (made["params_dtype"], made["device"]) == (torch.float32, torch.device("cpu"))
    (context,) = te["autocast"]
    chosen = context.get("recipe", context.get("fp8_recipe"))
    assert (context["enabled"], type(chosen).__name__) == (True, name)


def test_attention(te: dict[str, list[dict[str, Any]]]) -> None:
    from cosmos_lidar.kernels import te_ops

    q = torch.zeros(2, 5, 3, 8)
    te_ops.attention(q, q + 1, q + 2)
    (made,), (given,) = te["Attention"], te["forward"]
    assert (made["num_attention_heads"], made["kv_channels"]) == (3, 8)
    assert (made["qkv_format"], made["attn_mask_type"], made["attention_dropout"]) == ("bshd", "no_mask", 0.0)
    assert [given[name].flatten()[0] for name in ("query_layer", "key_layer", "value_layer")] == [0, 1, 2]


def test_apex(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: dict[str, list[dict[str, Any]]] = {"rms": [], "layer": [], "adam": []}
    norms = {"fused_rms_norm_affine": bound(RMS_NORM, calls["rms"], lambda given: given["input"]),
             "fused_layer_norm": bound(LAYER_NORM, calls["layer"], lambda given: given["input"])}  # fmt: skip
    adam = bound(ADAM, calls["adam"], lambda _: None)
    applier = {"multi_tensor_applier": lambda op, buffer, lists, *args: op(2048 * 32, buffer, lists, *args)}
    install(monkeypatch, apex={}, apex__multi_tensor_apply=applier, apex__normalization={},
            apex__normalization__fused_layer_norm=norms, amp_C={"multi_tensor_adam": adam})  # fmt: skip
    monkeypatch.delitem(sys.modules, "cosmos_lidar.kernels.apex_ops", raising=False)
    from cosmos_lidar.kernels import apex_ops

    try:
        x = torch.zeros(3, 8)
        apex_ops.rms_norm(x, torch.ones(8), 1e-5)
        apex_ops.layer_norm(x, 1e-5)
        apex_ops.adamw(([x], [x], [x], [x]), 7, 0.1, (0.8, 0.9), 1e-8, 0.2)
    finally:
        sys.modules.pop("cosmos_lidar.kernels.apex_ops", None)
        vars(kernels).pop("apex_ops", None)
    assert {tuple(one["normalized_shape"]) for name in ("rms", "layer") for one in calls[name]} == {(8,)}
    assert {one["eps"] for name in ("rms", "layer") for one in calls[name]} == {1e-5}
    (update,) = calls["adam"]
    numbers = [update[name] for name in ("lr", "beta1", "beta2", "epsilon", "step", "mode", "bias_correction")]
    assert (numbers, update["weight_decay"]) == ([0.1, 0.8, 0.9, 1e-8, 7, 1, 1], 0.2)


def test_names_that_are_not_published_do_not_bind() -> None:
    """The checks above can fail."""
    with pytest.raises(TypeError, match="dtype"):
        bound(LINEAR, [], dict)(1, 2, dtype=torch.float32)
    assert list(inspect.signature(torch.nn.functional.rms_norm).parameters) != RMS_NORM.split()
