"""Adapter files (LoRA) in the names and the layout of PEFT: ``adapter_model.safetensors`` and ``adapter_config.json``.

An adapter file has the factors of each layer, ``base_model.model.LAYER.lora_A.weight`` (rank, in) and ``lora_B.weight``
(out, rank), and modules that were trained whole. Checkpoints of the published trainer hold adapters beside the frozen
weights, ``net.LAYER.base_layer.weight`` and ``net.LAYER.lora_A.default.weight``; they are read, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cosmos_lidar.bounds import read_file
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import atomic_write, parse_json, read_tensors, write_json
from cosmos_lidar.models.dit.lora import (
    DEFAULT,
    A,
    B,
    LoraLinear,
    adapters,
    add_lora,
    is_adapter_tensor,
    split_state,
)

TENSORS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
_PREFIX = "base_model.model."
_WANTED = f"a LoRA adapter: a folder with {TENSORS} and {CONFIG}, as save_lora and PEFT write them"
_FINGERPRINT = "base_fingerprint"
_REFUSED = ("use_dora", "use_rslora", "fan_in_fan_out", "alpha_pattern", "rank_pattern")  # other formulas
_PROBED = 64  # values of each tensor in a fingerprint


@dataclass(frozen=True)
class Adapter:
    """Low-rank updates without the network that they belong to.

    Attributes:
        factors: (A (rank, in), B (out, rank)) by layer.
        rank: of the updates.
        alpha: scale times rank.
        saved: tensors of modules that were trained whole, by their names in the network.
        base: name of the network that the adapter was trained on, given by whoever saved it; may be empty.
        fingerprint: of the weights it was trained on; empty where it is not known.
    """

    factors: dict[str, tuple[Tensor, Tensor]]
    rank: int
    alpha: float
    saved: dict[str, Tensor] = field(default_factory=dict)
    base: str = ""
    fingerprint: str = ""

    @property
    def scale(self) -> float:
        """What the product of the factors is multiplied with."""
        return self.alpha / self.rank


def save_lora(network: nn.Module, folder: Path, name: str = DEFAULT, base: str = "") -> list[Path]:
    """Write an adapter of a network, and nothing else of it, into a folder.

    Args:
        network: whole, on any device.
        folder: for the two files; made when absent.
        name: of the adapter.
        base: name of the network without the adapter, for the file.

    Returns:
        The files.

    Raises:
        ValueError: no such adapter.
    """
    if name not in adapters(network):
        raise ValueError(f"no adapter {name!r} in this network")
    state = network.state_dict()
    trained = {key for key, parameter in network.named_parameters() if parameter.requires_grad}
    saved = {key: state[key] for key in trained if not is_adapter_tensor(key)}
    marks = f".{A}.{name}.", f".{B}.{name}."
    own = {key: tensor for key, tensor in state.items() if any(mark in key for mark in marks)}
    adapter = adapter_of_state(own | saved, base)
    return write_adapter(replace(adapter, fingerprint=base_fingerprint(state, saved)), folder)


def adapter_of_state(state: Mapping[str, Tensor], base: str = "") -> Adapter:
    """Return the adapter in the tensors of a network with one: its factors, and whatever else they hold as ``saved``.

    Raises:
        DataError: no adapter, or updates of several ranks or scales.
    """
    saved, updates = split_state(state)
    if not updates:
        raise DataError("no low-rank updates among these tensors", wanted=_WANTED)
    settings = {(len(first), float(scale)) for _, (first, _, scale) in updates}
    if len(settings) > 1:
        raise DataError(f"updates of several ranks and scales: {sorted(settings)}", wanted="one adapter")
    rank, scale = settings.pop()
    factors = {layer: (first, second) for layer, (first, second, _) in updates}
    return Adapter(factors, rank, scale * rank, saved, base)


def write_adapter(adapter: Adapter, folder: Path) -> list[Path]:
    """Write the two files of an adapter; returns them."""
    from safetensors.torch import save_file

    tensors = {f"{_PREFIX}{name}": tensor for name, tensor in adapter.saved.items()}
    for layer, pair in adapter.factors.items():
        tensors |= {f"{_PREFIX}{layer}.{kind}.weight": factor for kind, factor in zip((A, B), pair, strict=True)}
    document = {
        "peft_type": "LORA", "base_model_name_or_path": adapter.base, "r": adapter.rank, "lora_alpha": adapter.alpha,
        "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
        "target_modules": sorted(adapter.factors),
        "modules_to_save": sorted({name.rpartition(".")[0] for name in adapter.saved}) or None,
        _FINGERPRINT: adapter.fingerprint,
    }  # fmt: skip
    paths = [folder / TENSORS, folder / CONFIG]
    with atomic_write(paths[0], sync=True) as partial:
        whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(whole, partial, {"format": "pt"})
    write_json(paths[1], document)
    return paths


def read_adapter(path: Path) -> Adapter:
    """Return the adapter in a folder, or in a file ``adapter_model.safetensors`` with its configuration beside it.

    Raises:
        DataError: no adapter, a damaged one, or one that is computed in another way (DoRA, rank patterns).
    """
    file = path / TENSORS if path.is_dir() else path
    settings = _read_config(file.parent / CONFIG)
    state, factors, saved = read_tensors(file, _WANTED), {}, {}
    for key, tensor in state.items():
        name = key.removeprefix(_PREFIX)
        layer, found, kind = name.removesuffix(".weight").rpartition(".lora_")
        if not found:
            saved[name] = tensor
        elif kind == "A":
            second = state.get(f"{key.removesuffix('A.weight')}B.weight")
            factors[layer] = _checked_pair(file, name, tensor, second, settings["r"])
        elif kind != "B":
            raise DataError("not a factor of a low-rank update", file=file, key=key, wanted=_WANTED)
    if not factors:
        raise DataError("holds no low-rank updates", file=file, wanted=_WANTED)
    base, fingerprint = settings.get("base_model_name_or_path") or "", settings.get(_FINGERPRINT) or ""
    return Adapter(factors, settings["r"], float(settings["lora_alpha"]), saved, str(base), str(fingerprint))


def load_lora(network: nn.Module, path: Path, name: str = DEFAULT) -> nn.Module:
    """Give a network the adapter of a file, in place; returns it. An adapter of that name takes the file's values.

    Args:
        network: plain or with adapters.
        path: of the folder or file.
        name: of the adapter in this network.

    Raises:
        DataError: an adapter of another network, of other weights, or of another rank than the one it replaces; nothing
            is changed then.
    """
    adapter = read_adapter(path)
    check_fits(adapter, network.state_dict(), path)
    if name in adapters(network):
        _check_same(network, name, adapter, path)
    else:
        add_lora(network, adapter.rank, adapter.alpha, adapter.factors, name=name)
    with torch.no_grad():
        for layer, pair in adapter.factors.items():
            module: Any = network.get_submodule(layer)
            for kind, factor in zip((A, B), pair, strict=True):
                getattr(module, kind)[name].weight.copy_(factor)
            module.lora_A[name].scale.fill_(adapter.scale)
        for key, tensor in adapter.saved.items():
            network.get_parameter(key).copy_(tensor)
    return network


def check_fits(adapter: Adapter, base: Mapping[str, Tensor], file: Path) -> None:
    """Refuse an adapter that was not trained on these weights.

    Args:
        adapter: of a file.
        base: whole tensors of the network, by name; other adapters among them are ignored.
        file: of the adapter, for messages.

    Raises:
        DataError: the message names the layer, or the two bases.
    """
    of = f" (it is of {adapter.base!r})" if adapter.base else ""
    wanted = f"an adapter of this network{of}"
    for layer, (first, second) in adapter.factors.items():
        weight = base.get(f"{layer}.weight")
        if weight is None:
            raise DataError("the network has no such layer", file=file, key=layer, wanted=wanted)
        shape = second.shape[0], first.shape[1]
        if tuple(weight.shape) != shape:
            problem = f"an update of shape {shape} for a layer of shape {tuple(weight.shape)}"
            raise DataError(problem, file=file, key=layer, wanted=wanted)
    for key, tensor in adapter.saved.items():
        if key not in base or base[key].shape != tensor.shape:
            raise DataError("the network has no such tensor of this shape", file=file, key=key, wanted=wanted)
    found = base_fingerprint(base, adapter.saved) if adapter.fingerprint else ""
    if found != adapter.fingerprint:
        problem = f"trained on weights with fingerprint {adapter.fingerprint[:12]}, these have {found[:12]}"
        raise DataError(problem, file=file, wanted=f"the base that the adapter was trained on{of}")


def base_fingerprint(state: Mapping[str, Tensor], without: Collection[str] = ()) -> str:
    """Return a SHA-256 of names, shapes and the first values of each weight in bfloat16, adapters left out.

    It is the same for weights in fp32 and their bf16 copy.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        if not is_adapter_tensor(name) and name not in without:
            tensor = state[name].detach()
            first = tensor.flatten()[:_PROBED].to("cpu", torch.bfloat16).view(torch.int16)
            digest.update(f"{name} {tuple(tensor.shape)}".encode() + first.numpy().tobytes())
    return digest.hexdigest()


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError("missing", file=path, wanted=_WANTED)
    settings = parse_json(read_file(path, _WANTED))
    rank, alpha = (settings.get(key) for key in ("r", "lora_alpha")) if isinstance(settings, dict) else (None, None)
    if type(rank) is not int or rank < 1 or not isinstance(alpha, (int, float)):
        raise DataError(f"r={rank!r}, lora_alpha={alpha!r}", file=path, wanted="a rank of at least 1, and a number")
    other = next((key for key in _REFUSED if settings.get(key)), None)
    if other:
        raise DataError(f"{settings[other]!r:.80}", file=path, key=other, wanted="plain LoRA: W + lora_alpha / r B A")
    return settings


def _checked_pair(file: Path, name: str, first: Tensor, second: Tensor | None, rank: int) -> tuple[Tensor, Tensor]:
    if second is None or first.ndim != 2 or second.ndim != 2:
        raise DataError("no pair of matrices", file=file, key=name, wanted=_WANTED)
    if len(first) != rank or second.shape[1] != rank:
        problem = f"factors of shapes {tuple(first.shape)} and {tuple(second.shape)}"
        raise DataError(problem, file=file, key=name, wanted=f"factors of rank {rank}, as {CONFIG} has it")
    return first, second


def _check_same(network: nn.Module, name: str, adapter: Adapter, file: Path) -> None:
    own = {
        path: len(module.lora_A[name].weight)  # type: ignore[arg-type]
        for path, module in network.named_modules()
        if isinstance(module, LoraLinear) and name in module.lora_A
    }
    ranks = sorted(set(own.values()))
    if ranks != [adapter.rank]:
        problem = f"rank {adapter.rank}, the network's adapter {name!r} has rank {', '.join(map(str, ranks))}"
        raise DataError(problem, file=file, wanted="an adapter of the same rank, or another name")
    if own.keys() != adapter.factors.keys():
        other = sorted(own.keys() ^ adapter.factors.keys())[0]
        raise DataError(f"other layers than the network's adapter {name!r}", file=file, key=other, wanted="the same")
