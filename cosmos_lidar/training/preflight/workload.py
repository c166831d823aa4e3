"""What one sample costs: FLOPs, bytes read and written, and tensors that ranks exchange, counted on shapes alone.

A forward pass on the ``meta`` device, of the network as it is before it is parallelized. Every operation is noted with
its FLOPs and with the bytes of its inputs and outputs, as if nothing were fused; views are free. Attention is one
operation that reads queries, keys and values and writes its output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from cosmos_lidar.models.plan import ParallelPlan

if TYPE_CHECKING:
    from cosmos_lidar.training.model import TrainedModel

_FREE = ("aten.empty", "aten.detach", "aten.new_empty")  # operations that move nothing
_META_BYTES = 4  # of a number of the network on the meta device, which is in float32


class Operation(NamedTuple):
    """What one operation takes.

    Attributes:
        kind: ``matmul``, ``convolution``, ``attention`` or ``other``.
        precision: ``bf16`` or ``fp32``.
        flops: a multiply-add is two.
        size: bytes read and written.
    """

    kind: str
    precision: str
    flops: int
    size: int


@dataclass
class Exchanged:
    """Numbers (elements) of one sample that ranks exchange in a forward pass, where they share samples or layers.

    Attributes:
        attention: (queries, keys and values, outputs) of every self-attention.
        keys: keys and values of every self-attention.
        column: inputs of layers that are split by outputs.
        row: outputs of layers that are split by inputs.
        output: of the network.
    """

    attention: list[tuple[int, int]] = field(default_factory=list)
    keys: list[int] = field(default_factory=list)
    column: list[int] = field(default_factory=list)
    row: list[int] = field(default_factory=list)
    output: int = 0


class Unit(NamedTuple):
    """Parameters that are gathered together (FSDP).

    Attributes:
        split: those of layers that tensor ranks share.
        whole: the others.
        trained: share of the parameters that is trained.
        root: gathered once in a step, not again for backward.
    """

    split: int
    whole: int
    trained: float
    root: bool


@dataclass(frozen=True)
class Workload:
    """What one sample costs, before it is divided among ranks.

    Attributes:
        forward: operations of the network, and how many of each.
        encoding: operations of one rank that encode a recorded sample online; by ranks that share it.
        exchanged: between ranks.
        units: parameters by FSDP unit.
    """

    forward: Counter[Operation]
    encoding: Callable[[int], Counter[Operation]]
    exchanged: Exchanged
    units: list[Unit]

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(unit.split + unit.whole for unit in self.units)

    @property
    def model_flops(self) -> float:
        """FLOPs of a training step on one sample: three forward passes."""
        return 3.0 * sum(one.flops * count for one, count in self.forward.items())


class _Attention(TorchFunctionMode):
    """Notes attention as one operation and computes nothing of it."""

    def __init__(self, operations: Counter[Operation]) -> None:
        super().__init__()
        self.operations = operations

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is not nn.functional.scaled_dot_product_attention:
            return func(*args, **(kwargs or {}))
        q, k, v = (
            args[i] if len(args) > i else (kwargs or {})[name] for i, name in enumerate(("query", "key", "value"))
        )
        out = q.new_empty(*q.shape[:-1], v.shape[-1])
        flops = 2 * q.numel() * k.shape[-2] + 2 * out.numel() * k.shape[-2]
        self.operations[Operation("attention", _precision(q), flops, _bytes((q, k, v, out)))] += 1
        return out


class _Operations(TorchDispatchMode):
    """Notes every other operation."""

    def __init__(self, operations: Counter[Operation]) -> None:
        super().__init__()
        self.operations = operations

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.is_view or str(func).startswith(_FREE):
            return out
        packet = func._overloadpacket
        flops = flop_registry[packet](*args, **(kwargs or {}), out_val=out) if packet in flop_registry else 0
        kind = "other" if not flops else "convolution" if "conv" in str(packet) else "matmul"
        self.operations[Operation(kind, _precision(out), flops, _bytes((args, kwargs, out)))] += 1
        return out


@contextmanager
def counting(operations: Counter[Operation]) -> Iterator[None]:
    """Count what runs on meta tensors inside the ``with`` block."""
    with torch.no_grad(), _Operations(operations), _Attention(operations):
        yield


def count_sample(model: TrainedModel) -> Workload:
    """Return what one sample of a model on the meta device costs.

    Args:
        model: not parallelized.

    Raises:
        UserError: the network cannot take the sizes of the samples.
    """
    network, plan = model.network, model.network.parallel_plan()
    inputs = model.example_inputs()
    operations: Counter[Operation] = Counter()
    with _watching(network, plan) as exchanged, counting(operations):
        output = network(**inputs)
    exchanged.output = sum(tensor.numel() for tensor in tree_leaves(output) if isinstance(tensor, Tensor))
    precision = "fp32" if model.compute_dtype == torch.float32 else "bf16"
    forward = _in_precision(operations, precision, model.compute_dtype.itemsize)
    return Workload(forward, cache(partial(_count_encoding, model)), exchanged, units_of(network, plan))


def units_of(network: nn.Module, plan: ParallelPlan) -> list[Unit]:
    """Return the parameters of a network by FSDP unit; the last one is the root's."""
    shared = {id(p) for name in (*plan.column, *plan.row) for p in network.get_submodule(name).parameters()}
    seen: set[int] = set()
    units = []
    for name in (*sorted(plan.units or plan.blocks, key=len, reverse=True), ""):
        own = [p for p in network.get_submodule(name).parameters() if id(p) not in seen]
        seen |= {id(p) for p in own}
        total = sum(p.numel() for p in own)
        split = sum(p.numel() for p in own if id(p) in shared)
        trained = sum(p.numel() for p in own if p.requires_grad)
        units.append(Unit(split, total - split, trained / total if total else 0.0, not name))
    return [unit for unit in units if unit.split + unit.whole]


def _count_encoding(model: TrainedModel, ranks: int) -> Counter[Operation]:
    operations: Counter[Operation] = Counter()
    with torch.device("meta"), counting(operations):
        model.encode_example(ranks)
    return operations


@contextmanager
def _watching(network: nn.Module, plan: ParallelPlan) -> Iterator[Exchanged]:
    """Note inputs and outputs of the layers that ranks can share."""
    found = Exchanged()
    hooks = [_watch(network, name, 0, found.column) for name in plan.column]
    hooks += [_watch(network, name, 1, found.row) for name in plan.row]
    layers: list[Any] = [network.get_submodule(name) for name in plan.attention]
    attends = [layer.attend for layer in layers]
    for layer, attend in zip(layers, attends, strict=True):
        layer.attend = partial(_attend, attend, found)
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
        for layer, attend in zip(layers, attends, strict=True):
            layer.attend = attend


def _watch(network: nn.Module, name: str, which: int, sizes: list[int]) -> Any:
    def note(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        sizes.append((args[0], output)[which].numel())

    return network.get_submodule(name).register_forward_hook(note)


def _attend(attend: Callable[..., Tensor], found: Exchanged, q: Tensor, k: Tensor, v: Tensor, *more: Any) -> Tensor:
    out = attend(q, k, v, *more)
    found.attention.append((q.numel() + k.numel() + v.numel(), out.numel()))
    found.keys.append(k.numel() + v.numel())
    return out


def _in_precision(operations: Counter[Operation], precision: str, itemsize: int) -> Counter[Operation]:
    """Return operations that were counted in float32 as they are in another type."""
    changed: Counter[Operation] = Counter()
    for one, count in operations.items():
        changed[Operation(one.kind, precision, one.flops, one.size * itemsize // _META_BYTES)] += count
    return changed


def _precision(value: Any) -> str:
    sizes = [tensor.element_size() for tensor in tree_leaves(value) if isinstance(tensor, Tensor)]
    return "bf16" if sizes and max(sizes) <= 2 else "fp32"


def _bytes(value: Any) -> int:
    return sum(one.numel() * one.element_size() for one in tree_leaves(value) if isinstance(one, Tensor))
