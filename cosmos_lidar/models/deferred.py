"""Deferred initialization: networks on the meta device, whose random weights are computed later, tensor by tensor.

A network built here takes no memory for its parameters, and consumes random numbers as one built as usual does. The
values that its constructor gave each parameter can be computed afterwards, in any order, on any rank, and are the same
bit for bit. Buffers are computed at once: they are small, and often made by arithmetic that cannot be recorded.
"""

from __future__ import annotations

import mmap
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

M = TypeVar("M", bound=nn.Module)

# In-place operations that set every element, whatever was there before.
_OVERWRITE = ("aten::uniform_", "aten::normal_", "aten::zero_", "aten::fill_", "aten::copy_", "aten::random_")
# Operations that read nothing of a tensor but its shape and type.
_SHAPE_ONLY = ("aten::empty", "aten::new_", "aten::zeros_like", "aten::ones_like", "aten::full_like", "aten::rand")
_EMPTY = ("aten::empty", "aten::empty_like", "aten::new_empty", "aten::empty_strided")
_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0)
_truncated_normal = nn.init._no_grad_trunc_normal_


class NotRecorded(Exception):
    """A constructor does something to its parameters that cannot be done again later."""


@dataclass(frozen=True)
class _Operation:
    """An in-place operation on a parameter, or a part of it, and the random numbers that it began with."""

    function: Any
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    random: Tensor | None
    overwrites: bool

    def covers(self, numel: int) -> bool:
        """Whether it sets all ``numel`` elements."""
        return self.overwrites and torch.Size(self.size).numel() == numel and self.offset == 0

    def run(self, tensor: Tensor) -> None:
        """Do it to ``tensor``; random numbers of the caller stay as they are."""
        view = tensor.as_strided(self.size, self.stride, self.offset)
        if self.random is None:
            self.function(view, *self.arguments, **self.options)
            return
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.random)
            self.function(view, *self.arguments, **self.options)


@dataclass
class _Record:
    """A deferred parameter and what its constructor did to it."""

    parameter: nn.Parameter
    operations: list[_Operation] = field(default_factory=list)


class InitialWeights:
    """The random weights of a network as its constructor would have made them, each computed when it is read."""

    def __init__(self, records: dict[str, _Record]) -> None:
        self._records = {name: (r.parameter.detach(), r.operations) for name, r in records.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def read(self, name: str) -> Tensor:
        """Return the whole initial value of a parameter, on the CPU."""
        like, operations = self._records[name]
        value = _own_pages(like.size(), like.stride(), like.dtype)
        first = max((i for i, o in enumerate(operations) if o.covers(value.numel())), default=0)
        with torch.no_grad():
            for operation in operations[first:]:
                operation.run(value)
        return value

    def release(self, value: Tensor) -> None:
        """Nothing: what was read is freed with its last reference."""


def build_deferred(build: Callable[[], M], draw: bool = True) -> tuple[M, list[InitialWeights]]:
    """Return ``build()`` with its parameters on the meta device, and what gives them their values.

    Args:
        build: makes the network; called once more, as usual, where its constructor cannot be recorded.
        draw: consume random numbers as ``build()`` does. Without, random weights cannot be read afterwards: for
            networks that get theirs from a file, where drawing billions of numbers for nothing takes minutes.

    Returns:
        (network, [its initial weights]; an empty list where it has them already).
    """
    before = torch.get_rng_state()
    recorder = _Recorder(draw)
    try:
        with recorder.recording():
            network = build()
        if any(weakref.getweakrefs(record.parameter) for record in recorder.records.values()):
            raise NotRecorded("a parameter that others refer to cannot be exchanged")
    except NotRecorded:
        torch.set_rng_state(before)
        return build(), []
    records = {id(record.parameter): record for record in recorder.records.values()}
    named = network.named_parameters(remove_duplicate=False)
    found = {name: records[id(parameter)] for name, parameter in named if id(parameter) in records}
    for record in recorder.records.values():
        _move_to_meta(record.parameter)
    return network, [InitialWeights(found)]


class _Recorder(TorchDispatchMode):
    """Notes what is done to new parameters, instead of doing it.

    They are ordinary tensors meanwhile, in memory that is never touched and thus never taken: on the meta device some
    of torch's initializers silently do nothing.
    """

    def __init__(self, draw: bool) -> None:
        super().__init__()
        self.draw = draw
        self.records: dict[int, _Record] = {}
        self._empty: dict[int, torch.UntypedStorage] = {}  # kept alive: their keys must not be given to others

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record inside the ``with`` block."""
        register = nn.Module.register_parameter

        def register_deferred(module: nn.Module, name: str, param: nn.Parameter | None) -> None:
            if param is not None and self._empty.pop(_key(param), None) is not None:
                param.data = _own_pages(param.size(), param.stride(), param.dtype)
                self.records[_key(param)] = _Record(param)
            register(module, name, param)

        registering = _exchanged(nn.Module, "register_parameter", register_deferred)
        drawing = _exchanged(nn.init, "_no_grad_trunc_normal_", self._truncated_normal)
        with registering, drawing, self:
            yield
        self._empty.clear()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run an operation, or note it where it changes a deferred parameter."""
        kwargs = kwargs or {}
        target = args[0] if args and isinstance(args[0], Tensor) and _writes_first(func) else None
        if target is not None and _key(target) in self.records:
            self._note_write(func, target, args[1:], kwargs)
            return target
        if any(_key(tensor) in self.records for tensor in _tensors(args, kwargs)) and not _reads_no_values(func):
            raise NotRecorded(f"{func} reads a parameter")
        if target is not None:
            self._empty.pop(_key(target), None)
        out = func(*args, **kwargs)
        if func._schema.name in _EMPTY and not out.is_meta:
            self._empty[_key(out)] = out.untyped_storage()
        return out

    def _note_write(self, func: Any, target: Tensor, arguments: tuple, options: dict[str, Any]) -> None:
        name = func._schema.name
        if name == "aten::copy_" and _same_place(target, arguments[0]):
            return  # how `weight[1:3] *= 2` ends
        if any(_key(tensor) in self.records for tensor in _tensors(arguments, options)):
            raise NotRecorded(f"{func} of one parameter with another")
        arguments = tuple(value.clone() if isinstance(value, Tensor) else value for value in arguments)
        random = torch.Tag.nondeterministic_seeded in func.tags
        self._note(func, target, arguments, options, random, overwrites=name in _OVERWRITE)

    def _truncated_normal(self, tensor: Tensor, *arguments: Any, **options: Any) -> Tensor:
        """Stand for torch's function, which looks at the numbers that it draws."""
        if _key(tensor) not in self.records:
            return _truncated_normal(tensor, *arguments, **options)
        self._note(_truncated_normal, tensor, arguments, options, random=True, overwrites=True)
        return tensor

    def _note(
        self, func: Any, target: Tensor, arguments: tuple, options: dict[str, Any], random: bool, overwrites: bool
    ) -> None:
        """Note an operation; consume the random numbers that it consumes."""
        if random and any(isinstance(value, torch.Generator) for value in (*arguments, *options.values())):
            raise NotRecorded(f"{func} with a generator of its own")
        state = torch.get_rng_state() if random else None
        if random and self.draw:
            func(_own_pages(target.size(), target.stride(), target.dtype), *arguments, **options)
        place = tuple(target.size()), tuple(target.stride()), int(target.storage_offset())
        self.records[_key(target)].operations.append(_Operation(func, *place, arguments, options, state, overwrites))


def _own_pages(size: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return a tensor of zeros in pages of its own, taken when they are touched and given back with the tensor.

    The C library's allocator gives addresses that others have touched, and keeps what is freed.
    """
    count = 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 in size:
        return torch.empty_strided(size, stride, dtype=dtype, device="cpu")
    pages = mmap.mmap(-1, count * dtype.itemsize, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE)
    return torch.frombuffer(pages, dtype=dtype).as_strided(size, stride)


def _move_to_meta(parameter: nn.Parameter) -> None:
    with torch.no_grad():
        empty = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    torch.utils.swap_tensors(parameter, empty)


@contextmanager
def _exchanged(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Give an attribute another value inside the ``with`` block."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _writes_first(func: Any) -> bool:
    arguments = func._schema.arguments
    alias = arguments[0].alias_info if arguments else None
    return alias is not None and alias.is_write


def _reads_no_values(func: Any) -> bool:
    """Whether an operation makes a view, or looks at shape and type alone."""
    returns = func._schema.returns
    view = bool(returns) and all(value.alias_info is not None and not value.alias_info.is_write for value in returns)
    return view or func._schema.name.startswith(_SHAPE_ONLY)


def _tensors(*values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


def _same_place(one: Tensor, other: object) -> bool:
    if not isinstance(other, Tensor) or _key(one) != _key(other):
        return False
    return (one.size(), one.stride(), one.storage_offset()) == (other.size(), other.stride(), other.storage_offset())


def _key(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
