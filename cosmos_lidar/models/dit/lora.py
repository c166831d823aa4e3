"""LoRA: low-rank updates of frozen linear layers, trained in their place (Hu et al. 2021, arXiv 2106.09685).

An adapter is one such set of updates. A network can have several, by name: they add up where several are in use.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosmos_lidar.errors import UserError

if TYPE_CHECKING:
    from cosmos_lidar.models.plan import ParallelPlan

A, B, SCALE = "lora_A", "lora_B", "scale"
DEFAULT = "default"  # the name of an adapter that is not given one
M = TypeVar("M", bound=nn.Module)
Update = tuple[Tensor, Tensor, Tensor]  # A, B, scale


class LoraFactor(nn.Module):
    """One of the two factors of an update; the first one has the scale, too."""

    scale: Tensor

    def __init__(self, rows: int, columns: int, device: torch.device | None, scale: float | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, columns, device=device))
        if scale is None:
            nn.init.zeros_(self.weight)
        else:
            self.register_buffer(SCALE, torch.tensor(scale, device=device))
            nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # U(-1/sqrt(in), 1/sqrt(in))


class LoraLinear(nn.Linear):
    """x W^T + b + sum of scale (x A^T) B^T over the adapters in use, where A (rank, in) and B (out, rank) are trained.

    ``weight`` and ``bias`` are those of the layer that it replaces, under the same names; factors are
    ``lora_A.ADAPTER.weight`` and ``lora_B.ADAPTER.weight``. B starts at zero: the layer begins as the one it replaces.

    Args:
        base: the layer; its parameters are shared, not copied.
    """

    def __init__(self, base: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight = base.weight
        self.register_parameter("bias", base.bias)
        self.lora_A, self.lora_B = nn.ModuleDict(), nn.ModuleDict()
        self.used: tuple[str, ...] = ()

    def add_adapter(self, name: str, rank: int, alpha: float) -> None:
        """Add an adapter whose scale is alpha / rank, and use it beside the others."""
        # of a deferred network they are recorded, and then join its other parameters on the meta device
        device = None if self.weight.is_meta else self.weight.device
        self.lora_A[name] = LoraFactor(rank, self.in_features, device, alpha / rank)
        self.lora_B[name] = LoraFactor(self.out_features, rank, device)
        self.used = (*self.used, name)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in) to (..., out)."""
        y = F.linear(x, self.weight, self.bias)
        for name in self.used:
            first, second = self._factors(name)
            update = F.linear(F.linear(x, first.weight), second.weight)
            y = y + first.scale.to(update.dtype) * update
        return y

    def update(self) -> Tensor:
        """Return what the adapters in use add to the weight, (out, in), in float32."""
        with torch.no_grad():
            total = torch.zeros(())
            for first, second in map(self._factors, self.used):
                total = total + second.weight.float() @ first.weight.float() * first.scale.float()
            return total

    def _factors(self, name: str) -> tuple[LoraFactor, LoraFactor]:
        return cast(LoraFactor, self.lora_A[name]), cast(LoraFactor, self.lora_B[name])


class MergedLinear(nn.Linear):
    """A linear layer whose weight has the update of its adapters in it: no parameters but those of the plain layer."""

    def __init__(self, adapted: LoraLinear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = adapted.in_features, adapted.out_features
        self.weight = nn.Parameter(_added(adapted.weight, adapted.update()), requires_grad=False)
        self.register_parameter("bias", adapted.bias)
        self.adapted = [adapted]  # a plain list: its factors are no part of this network
        adapted.register_parameter("weight", None)  # frees its memory

    def unmerged(self) -> LoraLinear:
        """Return the layer with adapters again; the update is subtracted from the weight."""
        adapted = self.adapted[0]
        adapted.weight = nn.Parameter(_added(self.weight, -adapted.update()), requires_grad=False)
        return adapted


def add_lora(
    network: M,
    rank: int,
    alpha: float,
    targets: Iterable[str] | str | None = None,
    modules_to_save: Iterable[str] = (),
    name: str = DEFAULT,
) -> M:
    """Freeze a network and give its linear layers low-rank updates, in place; returns it.

    Adapters that it has already stay in use and are frozen.

    Args:
        network: any; on the meta device, its updates are recorded by :func:`~cosmos_lidar.models.deferred.
            build_deferred` around this call.
        rank: of the updates.
        alpha: their scale times rank.
        targets: ends of the names of the layers, such as ``q_proj`` or ``mlp.layer1``, or one text with commas between
            them; None: all that the network's plan splits, which are the projections of its attentions and its MLPs.
        modules_to_save: ends of the names of modules that are trained whole, such as ``view_embeddings``; their layers
            get no updates.
        name: of the adapter.

    Raises:
        UserError: a name that fits no layer, or an adapter that exists already.
    """
    if name in adapters(network):
        raise UserError(f"the network has an adapter {name!r} already")
    if rank < 1:
        raise UserError(f"rank {rank} of low-rank updates: expected at least 1")
    layers = {path: module for path, module in network.named_modules() if isinstance(module, nn.Linear)}
    ends = _ends(network, targets)
    check_ends(ends, layers, "model.lora.targets")
    check_ends(modules_to_save, dict(network.named_modules()), "model.lora.modules_to_save")
    network.requires_grad_(False)
    whole = [path for path, _ in network.named_modules() if _fits(path, modules_to_save)]
    for path, layer in layers.items():
        if _fits(path, ends) and not any(path.startswith(f"{module}.") for module in whole):
            adapted = layer if isinstance(layer, LoraLinear) else LoraLinear(layer)
            adapted.add_adapter(name, rank, alpha)
            _exchange(network, path, adapted)
    for path, module in network.named_modules():
        if _fits(path, modules_to_save):
            module.requires_grad_(True)
    return network


def adapters(network: nn.Module) -> list[str]:
    """Return the names of the adapters of a network."""
    names = [name for module in network.modules() if isinstance(module, LoraLinear) for name in module.lora_A]
    return list(dict.fromkeys(names))


def use_adapters(network: nn.Module, names: Iterable[str]) -> None:
    """Choose the adapters that a network computes with; none: the plain network.

    Raises:
        UserError: an adapter that it does not have.
    """
    chosen, known = list(names), adapters(network)
    unknown = next((name for name in chosen if name not in known), None)
    if unknown is not None:
        raise UserError(f"no adapter {unknown!r}; valid: {', '.join(known) or 'none, the network has no adapters'}")
    for module in network.modules():
        if isinstance(module, LoraLinear):
            module.used = tuple(name for name in chosen if name in module.lora_A)


def has_lora(network: nn.Module) -> bool:
    """Return whether a network has low-rank updates."""
    return any(isinstance(module, LoraLinear) for module in network.modules())


def merge_lora(network: M) -> M:
    """Add the updates of the adapters in use to their layers, in place: W + scale B A; returns the network.

    Its parameters then have the plain names alone. :func:`unmerge_lora` undoes it, to the rounding of the weights.
    """
    for path, module in list(network.named_modules()):
        if isinstance(module, LoraLinear):
            _exchange(network, path, MergedLinear(module))
    return network


def unmerge_lora(network: M) -> M:
    """Take merged updates out of their layers again and compute them beside, as before :func:`merge_lora`."""
    for path, module in list(network.named_modules()):
        if isinstance(module, MergedLinear):
            _exchange(network, path, module.unmerged())
    return network


def merge_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with every update added to its layer, under the names of the plain network.

    Args:
        state: whole tensors by name; one without updates is returned as it is.
    """
    plain, updates = split_state(state)
    for layer, (first, second, scale) in updates:
        add_update(plain, layer, first, second, float(scale))
    return plain


def add_update(plain: dict[str, Tensor], layer: str, first: Tensor, second: Tensor, scale: float) -> None:
    """Add scale B A to the weight of a layer, in the state dict of a plain network; A is ``first``, B ``second``."""
    update = second.float() @ first.float().to(second.device) * scale
    plain[f"{layer}.weight"] = _added(plain[f"{layer}.weight"], update)


def split_state(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[tuple[str, Update]]]:
    """Return the tensors that are no part of an adapter, and (layer, (A, B, scale)) of each update."""
    plain = {name: tensor for name, tensor in state.items() if not is_adapter_tensor(name)}
    updates = []
    for name in state:
        layer, found, rest = name.rpartition(f".{A}.")
        if found and rest.endswith(".weight"):
            adapter = rest.removesuffix(".weight")
            second, scale = state[f"{layer}.{B}.{rest}"], state[f"{layer}.{A}.{adapter}.{SCALE}"]
            updates.append((layer, (state[name], second, scale)))
    return plain, updates


def is_adapter_tensor(name: str) -> bool:
    """Return whether a tensor of a state dict is a part of an adapter."""
    return f".{A}." in name or f".{B}." in name


def is_adapters_only(state: Mapping[str, Tensor]) -> bool:
    """Return whether a state dict holds low-rank updates without the weights of their layers."""
    layers = (name.rpartition(f".{A}.")[0] for name in state if f".{A}." in name)
    return any(f"{layer}.weight" not in state for layer in layers)


def check_ends(ends: Iterable[str], names: Iterable[str], option: str) -> None:
    """Refuse an end that fits no name.

    Raises:
        UserError: the message names the option and what there is.
    """
    for end in ends:
        if not any(_fits(name, [end]) for name in names):
            known = sorted({".".join(name.split(".")[-2:]) for name in names if name})
            raise UserError(f"{option}: no layer ends in {end!r}; valid: {', '.join(known[:20])}")


def _added(weight: Tensor, update: Tensor) -> Tensor:
    return (weight.detach().float() + update.to(weight.device)).to(weight.dtype)


def _ends(network: Any, targets: Iterable[str] | str | None) -> list[str]:
    if targets is None:
        plan: ParallelPlan = network.parallel_plan()
        return [*plan.column, *plan.row]
    return [end.strip() for end in targets.split(",")] if isinstance(targets, str) else list(targets)


def _exchange(network: nn.Module, path: str, module: nn.Module) -> None:
    owner, _, attribute = path.rpartition(".")
    setattr(network.get_submodule(owner), attribute, module)


def _fits(name: str, ends: Iterable[str]) -> bool:
    return any(name == end or name.endswith(f".{end}") for end in ends)
