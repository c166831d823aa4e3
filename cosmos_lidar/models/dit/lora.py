"""LoRA: low-rank updates of frozen linear layers, trained in their place (Hu et al. 2021, arXiv 2106.09685)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosmos_lidar.errors import UserError

A, B, SCALE = "lora_A", "lora_B", "lora_scale"


class LoraLinear(nn.Linear):
    """x W^T + b + scale (x A^T) B^T, where A (rank, in) and B (out, rank) are trained.

    ``weight`` and ``bias`` are those of the layer that it replaces, under the same names. B starts at zero: the layer
    begins as the one that it replaces.

    Args:
        base: the layer; its parameters are shared, not copied.
        rank: of the update.
        alpha: scale times rank.
    """

    lora_scale: Tensor

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight = base.weight
        self.register_parameter("bias", base.bias)
        # of a deferred network they are recorded, and then join its other parameters on the meta device
        device = None if base.weight.is_meta else base.weight.device
        self.lora_A = nn.Parameter(torch.empty(rank, base.in_features, device=device))
        self.lora_B = nn.Parameter(torch.empty(base.out_features, rank, device=device))
        self.register_buffer(SCALE, torch.tensor(alpha / rank, device=device))
        self.reset_adapter()

    def reset_adapter(self) -> None:
        """Draw A from U(-1/sqrt(in), 1/sqrt(in)) and set B to zero."""
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        nn.init.zeros_(self.lora_B)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        update = F.linear(F.linear(x, self.lora_A), self.lora_B)
        return F.linear(x, self.weight, self.bias) + self.lora_scale.to(update.dtype) * update


def add_lora(
    network: nn.Module, targets: Iterable[str], rank: int, alpha: float, also_trained: Iterable[str] = ()
) -> nn.Module:
    """Freeze a network and give its linear layers low-rank updates, in place; returns it.

    Args:
        network: any; on the meta device, its updates are recorded by :func:`~cosmos_lidar.models.deferred.
            build_deferred` around this call.
        targets: ends of the names of the layers, such as ``to_q.0`` or ``layer1``.
        rank: of the updates.
        alpha: their scale times rank.
        also_trained: ends of the names of modules that are trained whole, such as ``view_embeddings``.

    Raises:
        UserError: a name that fits no layer.
    """
    network.requires_grad_(False)
    if has_lora(network):
        raise ValueError("the network has low-rank updates already")
    layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}
    chosen = [name for name in layers if _fits(name, targets)]
    _check_names(targets, layers, "model.lora.targets")
    for name in chosen:
        owner, _, attribute = name.rpartition(".")
        setattr(network.get_submodule(owner), attribute, LoraLinear(layers[name], rank, alpha))
    modules = dict(network.named_modules())
    _check_names(also_trained, modules, "model.lora.also_trained")
    for name, module in modules.items():
        if _fits(name, also_trained):
            module.requires_grad_(True)
    return network


def has_lora(network: nn.Module) -> bool:
    """Return whether a network has low-rank updates."""
    return any(isinstance(module, LoraLinear) for module in network.modules())


def merge_lora(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with every update added to its layer, W + scale B A, under the names of the plain network.

    Args:
        state: whole tensors by name; one without updates is returned as it is.
    """
    adapted = {name.removesuffix(f".{A}") for name in state if name.endswith(f".{A}")}
    merged = {name: tensor for name, tensor in state.items() if name.rpartition(".")[2] not in (A, B, SCALE)}
    for layer in adapted:
        weight = state[f"{layer}.weight"]
        update = state[f"{layer}.{B}"].float() @ state[f"{layer}.{A}"].float()
        scale = state[f"{layer}.{SCALE}"].float().to(update.device)
        merged[f"{layer}.weight"] = (weight.float() + scale * update).to(weight.dtype)
    return merged


def is_adapters_only(state: Mapping[str, Tensor]) -> bool:
    """Return whether a state dict holds low-rank updates without the weights of their layers."""
    layers = (name.removesuffix(f".{A}") for name in state if name.endswith(f".{A}"))
    return any(f"{layer}.weight" not in state for layer in layers)


def _fits(name: str, ends: Iterable[str]) -> bool:
    return any(name == end or name.endswith(f".{end}") for end in ends)


def _check_names(ends: Iterable[str], names: Iterable[str], option: str) -> None:
    """Refuse an end that fits no name."""
    for end in ends:
        if not any(_fits(name, [end]) for name in names):
            known = sorted({".".join(name.split(".")[-2:]) for name in names if name})
            raise UserError(f"{option}: no layer ends in {end!r}; valid: {', '.join(known[:20])}")
