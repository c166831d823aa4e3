"""What the engine reads from batches of any family: samples, clip ids, contents for a dump; and steps of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only


class ExampleBatch(SimpleNamespace):
    """A batch of zeros that stands for one of the loader: the same fields, no content.

    Args:
        count: samples.
        **fields: of the family's batches, without keys and clip ids.
    """

    def __init__(self, count: int, **fields: Any) -> None:
        super().__init__(__key__=[""] * count, clip_ids=[], **fields)

    def to(self, device: torch.device) -> ExampleBatch:
        """Return the batch on a device."""
        moved = {name: tree_map_only(Tensor, lambda t: t.to(device), value) for name, value in vars(self).items()}
        copy = ExampleBatch(0)
        vars(copy).update(moved)
        return copy


def sample_count(batch: Any) -> int:
    """Return the number of samples of a batch, which is that of its Energon keys."""
    return len(batch.__key__)


def clips_of(batches: Iterable[Any]) -> list[str]:
    """Return the clips of some batches, each once, in the order of their samples."""
    return list(dict.fromkeys(clip for batch in batches for clip in getattr(batch, "clip_ids", [])))


def batch_content(batch: Any) -> dict[str, object]:
    """Return the tensors, texts and numbers of a batch by the names of its fields; other things as text."""
    if not is_dataclass(batch):
        return {"batch": _plain(batch)}
    return {field.name.strip("_"): _plain(getattr(batch, field.name)) for field in fields(batch)}


def _plain(value: object) -> object:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return repr(value)


class Steps:
    """The training loader as a sized iterable of steps: batches, or lists of batches to accumulate.

    Lightning draws one batch ahead from loaders without a length; the state in a checkpoint would then be one batch
    further than the training.

    Args:
        loader: endless.
        steps: length.
        accumulate: batches of one step; lists of that many are yielded where it is above 1.
    """

    def __init__(self, loader: Any, steps: int, accumulate: int = 1) -> None:
        self.loader, self.steps, self.accumulate = loader, steps, accumulate

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.loader)
        if self.accumulate == 1:
            return batches
        return ([next(batches) for _ in range(self.accumulate)] for _ in range(self.steps))
