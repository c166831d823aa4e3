"""Batches that move themselves to a device, and ragged batches: samples of varying length, concatenated with offsets.

Lightning moves a batch with its own ``to`` where there is one; without it, it walks into Energon's keys and fails.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import torch
from megatron.energon import Batch, edataclass
from torch import Tensor

from cosmos_lidar.errors import DataError

JOINED = "JoinedBatches"  # first item of the restore key of a joined batch

T = TypeVar("T")
B = TypeVar("B", bound="DeviceBatch")


@edataclass
class DeviceBatch(Batch):
    """Base of all batches: Energon's keys, and fields that move to a device together."""

    def to(self: B, device: torch.device | str | int, *, non_blocking: bool | None = None) -> B:
        """Return the batch with all tensors on ``device``: those in lists, dicts and dataclasses, too.

        Args:
            device: where to.
            non_blocking: copy without waiting, for pinned memory. Default: unless ``device`` is the CPU, where the
                values would be read before they arrive.

        Returns:
            A new batch; fields without tensors, and Energon's keys, are the same objects.
        """
        device = torch.device(device)
        non_blocking = device.type != "cpu" if non_blocking is None else non_blocking
        return self._with_tensors(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self: B) -> B:
        """Return the batch with all tensors in pinned memory; called by torch's data loader."""
        return self._with_tensors(lambda tensor: tensor.pin_memory())

    def _with_tensors(self: B, change: Callable[[Tensor], Tensor]) -> B:
        names = [field.name for field in dataclasses.fields(self) if not field.name.startswith("__")]
        return _copy_with(self, {name: map_tensors(getattr(self, name), change) for name in names})


@dataclasses.dataclass(frozen=True)
class Ragged:
    """Tensors of varying length, concatenated: points or voxels of each sample of a batch, without padding.

    Attributes:
        values: (N, ...) rows of all samples, in the order of the samples.
        offsets: (B + 1,) int64: rows ``offsets[i]`` to ``offsets[i + 1]`` are those of sample ``i``.
    """

    values: Tensor
    offsets: Tensor

    @classmethod
    def from_list(cls, parts: Sequence[Tensor]) -> Ragged:
        """Concatenate one (n, ...) tensor for each sample; n may be 0.

        Raises:
            ValueError: no tensors, or such that differ in more than their first size.
        """
        if not parts or len({(part.shape[1:], part.dtype) for part in parts}) > 1:
            shapes = ", ".join(f"{part.dtype} {tuple(part.shape)}" for part in parts) or "no tensors"
            raise ValueError(f"expected tensors that differ in their first size only, got {shapes}")
        lengths = torch.tensor([0, *(len(part) for part in parts)], dtype=torch.int64, device=parts[0].device)
        return cls(torch.cat(list(parts)), lengths.cumsum(0))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, sample: int) -> Tensor:
        sample = range(len(self))[sample]
        return self.values[self.offsets[sample] : self.offsets[sample + 1]]

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.values.split(self.lengths.tolist()))

    @property
    def lengths(self) -> Tensor:
        """(B,) int64: rows of each sample."""
        return self.offsets.diff()

    @property
    def batch_index(self) -> Tensor:
        """(N,) int64: the sample that each row belongs to."""
        samples = torch.arange(len(self), device=self.offsets.device)
        return samples.repeat_interleave(self.lengths, output_size=len(self.values))


def map_tensors(value: T, change: Callable[[Tensor], Tensor]) -> T:
    """Return ``value`` with ``change`` applied to every tensor inside lists, tuples, dicts and dataclasses.

    What holds no tensor that changes is returned as it is, not copied.
    """
    if isinstance(value, Tensor):
        return cast(T, change(value))
    if isinstance(value, dict):
        changed: Any = {key: map_tensors(part, change) for key, part in value.items()}
        return value if all(changed[key] is part for key, part in value.items()) else changed
    if isinstance(value, (list, tuple)):
        parts = [map_tensors(part, change) for part in value]
        if all(new is old for new, old in zip(parts, value, strict=True)):
            return value
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _copy_with(value, {name: map_tensors(part, change) for name, part in fields.items()})
    return value


def join_batches(parts: Sequence[B]) -> B:
    """Return one batch of all samples of ``parts``, in their order; tensors keep being pinned.

    Raises:
        DataError: a field that is in some parts only, or has one value for all samples and differs.
    """
    names = [field.name for field in dataclasses.fields(parts[0]) if field.name != "__restore_key__"]
    joined = copy.copy(parts[0])
    for name in names:
        object.__setattr__(joined, name, _join(name, [getattr(part, name) for part in parts]))
    object.__setattr__(joined, "__restore_key__", (JOINED, *(part.__restore_key__ for part in parts)))
    return joined


def _join(name: str, values: list[Any]) -> Any:
    """Return the values of one field of several batches as those of one batch."""
    first = values[0]
    if len({type(value) for value in values}) > 1:
        raise DataError("part missing in some samples of a batch", key=name, wanted="in all samples, or in none")
    if isinstance(first, Tensor):
        joined = torch.cat(values)
        return joined.pin_memory() if first.is_pinned() else joined
    if isinstance(first, Ragged):
        return Ragged.from_list([rows for value in values for rows in value])
    if isinstance(first, dict):
        return {key: _join(name, [value.get(key) for value in values]) for key in first}
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return type(first)(*(_join(name, list(parts)) for parts in zip(*values, strict=True)))
    if isinstance(first, (list, tuple)):
        return type(first)(item for value in values for item in value)
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in dataclasses.fields(first)]
        return _copy_with(first, {part: _join(name, [getattr(value, part) for value in values]) for part in names})
    if any(value != first for value in values):
        raise DataError(f"{values[:2]} in one batch", key=name, wanted="the same in all samples")
    return first


def _copy_with(value: T, fields: dict[str, Any]) -> T:
    """Return a copy of a dataclass, frozen or not, with other fields; itself where none is another."""
    changed = {name: part for name, part in fields.items() if part is not getattr(value, name)}
    if not changed:
        return value
    new = copy.copy(value)
    for name, part in changed.items():
        object.__setattr__(new, name, part)
    return new
