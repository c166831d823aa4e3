"""TransformerEngine's attention and FP8 linear layers; importing this module needs TransformerEngine and CUDA."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from functools import cache

import torch
import transformer_engine.pytorch as te
from torch import Tensor, nn
from transformer_engine.common import recipe as te_recipes

from cosmos_lidar.errors import UserError

# Recipe -> TransformerEngine's class, the lowest compute capability, what layer sizes must divide by.
# Delayed scaling is left out: its history of maxima would have to be saved for a run to resume exactly.
_RECIPES = {
    "none": ("", (0, 0), 1),
    "current": ("Float8CurrentScaling", (8, 9), 16),
    "block": ("Float8BlockScaling", (9, 0), 128),
    "mxfp8": ("MXFP8BlockScaling", (10, 0), 32),
}


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As :func:`cosmos_lidar.kernels.attention`, for bfloat16 and float16 on CUDA."""
    heads, channels = q.shape[2:]
    return _attention(heads, channels)(q, k, v).view(q.shape)


def replace_linears(module: nn.Module, recipe: str, names: Collection[str] | None) -> list[str]:
    """As :func:`cosmos_lidar.kernels.replace_linears`."""
    if recipe not in _RECIPES:
        raise UserError(f"unknown FP8 recipe {recipe!r}; valid: {', '.join(_RECIPES)}")
    class_name, lowest, multiple = _RECIPES[recipe]
    found = {name: layer for name, layer in module.named_modules() if type(layer) is nn.Linear}
    for name in set(names or ()) - set(found):
        raise UserError(f"{name!r} is no linear layer of this network")
    device = next(module.parameters()).device
    if (has := torch.cuda.get_device_capability(device)) < lowest:
        raise UserError(f"FP8 recipe {recipe!r} needs compute capability {lowest}, {device} has {has}: use another one")
    scaling = getattr(te_recipes, class_name)() if class_name else None
    swapped = [
        name
        for name, layer in found.items()
        if (names is None or name in names) and not (layer.in_features % multiple or layer.out_features % multiple)
    ]
    for name in swapped:
        parent, _, last = name.rpartition(".")
        setattr(module.get_submodule(parent), last, Linear(found[name], scaling, multiple))
    return swapped


class Linear(te.Linear):
    """TransformerEngine's layer with the values of a torch layer and its state-dict keys, in FP8 by its own recipe.

    Args:
        layer: the layer whose values, type and device it takes.
        scaling: TransformerEngine's FP8 recipe, or None for the type of the weights.
        multiple: rows (tokens) that do not divide by it are computed without FP8.
    """

    # The recipes keep no history, so there is nothing to save: no ``_extra_state`` beside the published keys.
    get_extra_state = nn.Module.get_extra_state
    set_extra_state = nn.Module.set_extra_state

    def __init__(self, layer: nn.Linear, scaling: object | None, multiple: int) -> None:
        weight = layer.weight
        options = {"bias": layer.bias is not None, "params_dtype": weight.dtype, "device": weight.device}
        super().__init__(layer.in_features, layer.out_features, **options)
        self.scaling, self.multiple = scaling, multiple
        with torch.no_grad():
            for name, value in layer.named_parameters():
                getattr(self, name).copy_(value).requires_grad_(value.requires_grad)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        rows = x.numel() // x.shape[-1]
        with _autocast(self.scaling if rows % self.multiple == 0 else None):
            return super().forward(x)


def _autocast(scaling: object | None) -> AbstractContextManager:
    """TransformerEngine's FP8 context, with the names of releases before and since 2.9."""
    if hasattr(te, "autocast"):
        return te.autocast(enabled=scaling is not None, recipe=scaling)
    return te.fp8_autocast(enabled=scaling is not None, fp8_recipe=scaling)


@cache
def _attention(heads: int, channels: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return te.DotProductAttention(heads, channels, qkv_format="bshd", attn_mask_type="no_mask", attention_dropout=0.0)
