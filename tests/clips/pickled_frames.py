"""Pickles of data frames as pandas 0.20 to 1.2 and 1.3 to 2.x wrote them, made without those versions."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np


class _Name:
    """A function or class of pandas by its name."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class _Call:
    """What a pickle makes by a call, or of a class without arguments, and its state."""

    def __init__(self, function: _Name, arguments: tuple, state: Any = None, new: bool = False) -> None:
        self.function, self.arguments, self.state, self.new = function, arguments, state, new


class _Pickler(pickle._Pickler):  # type: ignore[name-defined]
    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, _Name):
            if self.proto >= 4:
                self.save(obj.module)
                self.save(obj.name)
                self.write(pickle.STACK_GLOBAL)
            else:
                self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, _Call):
            self.save(obj.function)
            self.save(obj.arguments)
            self.write(pickle.NEWOBJ if obj.new else pickle.REDUCE)
            if obj.state is not None:
                self.save(obj.state)
                self.write(pickle.BUILD)
        else:
            super().save(obj, save_persistent_id)


def dumps(document: Any, protocol: int = 4) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, protocol).dump(document)
    return stream.getvalue()


def _index(labels: Any) -> _Call:
    kind = _Name("pandas.core.indexes.base", "Index")
    fields = {"data": np.array(labels, object), "name": None}
    return _Call(_Name("pandas.core.indexes.base", "_new_Index"), (kind, fields))


def _range(rows: int) -> _Call:
    kind = _Name("pandas.core.indexes.range", "RangeIndex")
    fields = {"start": 0, "stop": rows, "step": 1, "name": None}
    return _Call(_Name("pandas.core.indexes.base", "_new_Index"), (kind, fields))


def _blocks(columns: dict[str, np.ndarray]) -> list[tuple[np.ndarray, Any]]:
    """(values, placement) by dtype; a slice where the columns are neighbors, as pandas has it."""
    groups: dict[np.dtype, list[int]] = {}
    for number, values in enumerate(columns.values()):
        groups.setdefault(values.dtype, []).append(number)
    arrays = list(columns.values())
    found = []
    for numbers in groups.values():
        even = numbers == list(range(numbers[0], numbers[-1] + 1))
        place = slice(numbers[0], numbers[-1] + 1, 1) if even else np.array(numbers)
        found.append((np.stack([arrays[number] for number in numbers]), place))
    return found


def old_frame(columns: dict[str, np.ndarray]) -> _Call:
    """A data frame as pandas up to 1.2 wrote it."""
    axes = [_index(list(columns)), _range(len(next(iter(columns.values()))))]
    blocks = [{"values": values, "mgr_locs": place} for values, place in _blocks(columns)]
    state = (
        axes,
        [one["values"] for one in blocks],
        [axes[0]] * len(blocks),
        {"0.14.1": {"axes": axes, "blocks": blocks}},
    )
    manager = _Call(_Name("pandas.core.internals.managers", "BlockManager"), (), state, new=True)
    return _Call(_Name("pandas.core.frame", "DataFrame"), (), {"_data": manager, "_typ": "dataframe"}, new=True)


def new_frame(columns: dict[str, np.ndarray]) -> _Call:
    """A data frame as pandas from 1.3 on writes it."""
    axes = [_index(list(columns)), _range(len(next(iter(columns.values()))))]
    unpickle = _Name("pandas._libs.internals", "_unpickle_block")
    blocks = tuple(_Call(unpickle, (values, place, 2)) for values, place in _blocks(columns))
    manager = _Call(_Name("pandas.core.internals.managers", "BlockManager"), (blocks, axes))
    state = {"_mgr": manager, "_typ": "dataframe", "_metadata": [], "attrs": {}, "_flags": {}}
    return _Call(_Name("pandas.core.frame", "DataFrame"), (), state, new=True)
