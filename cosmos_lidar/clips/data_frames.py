"""Pickled data frames of pandas, read without pandas: blocks of numbers under the names of their columns.

Neither pandas nor anything else is called because a file names it (see :mod:`cosmos_lidar.pickles`): names of pandas
stand for functions of this module, which take the arrays out of what a data frame is made of. Known are the layouts of
pandas 0.20 to 2.x, with columns named by plain texts; row labels are skipped.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from cosmos_lidar.pickles import ARRAYS, BYTES, LONG_BYTES, NEW_OBJECT, ArrayUnpickler, Named, Stream
from cosmos_lidar.pickles import UnpicklingError as _Refused

_OBJECTS = ("O", "O8", "|O")
_KIND, _FROM_BUFFER = ARRAYS["numpy", "ndarray"], ARRAYS["numpy.core.numeric", "_frombuffer"]
_PIECE = 1 << 18  # bytes


class _Objects:
    """The dtype of Python objects, of which texts alone are let in."""

    def __setstate__(self, state: Any) -> None:
        """Take what numpy writes beside the name of a dtype."""


class _Values:
    """An array of numbers or of texts, which a pickle fills."""

    def __init__(self) -> None:
        self.values: Any = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _Refused("gives an array another state than numpy does")
        if isinstance(state[2], _Objects):
            self.values = _texts(state[4])
            return
        _, shape, dtype, fortran, content = state
        self.values = _FROM_BUFFER(content, dtype, shape, "F" if fortran else "C")  # no copy


class _Index:
    """Labels of rows or columns; None where they are not texts."""

    def __init__(self, labels: Any = None) -> None:
        self.labels = labels


class _Blocks:
    """The block manager of pandas: arrays (columns, rows) and the columns that they hold.

    Args:
        blocks: of pandas 1.3 and newer.
        axes: columns, rows.
    """

    def __init__(self, blocks: Any = (), axes: Any = ()) -> None:
        self.blocks, self.axes = blocks, axes

    def __setstate__(self, state: Any) -> None:
        # Up to pandas 1.2: (axes, values, labels, {"0.14.1": {"axes": …, "blocks": [{"values", "mgr_locs"}]}})
        known = state[3].get("0.14.1") if isinstance(state, tuple) and len(state) >= 4 else None
        if not isinstance(known, dict) or not isinstance(known.get("blocks"), list):
            raise _Refused("gives a block manager another state than pandas does")
        self.axes = known.get("axes")
        entries = [one if isinstance(one, dict) else {} for one in known["blocks"]]
        self.blocks = [(one.get("values"), one.get("mgr_locs")) for one in entries]


class _Frame:
    """A data frame."""

    manager: Any = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise _Refused("gives a data frame another state than pandas does")
        self.manager = state.get("_mgr", state.get("_data"))


class _Class(Named):
    """A class of pandas, which protocol 2 and newer make without a call of it."""

    __slots__ = ("made",)

    def __init__(self, made: type) -> None:
        super().__init__(made)
        self.made = made


def _dtype(text: Any, align: Any = False, copy: Any = False) -> Any:
    return _Objects() if text in _OBJECTS else ARRAYS["numpy", "dtype"](text, align, copy)


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Values:
    if kind is not _KIND or shape != (0,):
        raise _Refused("makes an array in another way than numpy does")
    return _Values()


def _new_index(kind: Any, fields: Any) -> _Index:
    data = fields.get("data") if isinstance(fields, dict) else None
    return _Index(data.values if isinstance(data, _Values) else data)


def _block(values: Any, placement: Any, ndim: Any) -> tuple[Any, Any]:
    return values, placement


def _slice(*ends: Any) -> slice:
    if len(ends) > 3 or not all(end is None or type(end) is int for end in ends):
        raise _Refused("a slice of something else than numbers")
    return slice(*ends)


def _texts(items: Any) -> list[str]:
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise _Refused("an array of objects that are not texts")
    return items


_INDEXES = ("Index", "RangeIndex", "Int64Index", "UInt64Index")
_NAMES: dict[tuple[str, str], Any] = {
    **ARRAYS,
    ("numpy", "dtype"): Named(_dtype),
    ("numpy.core.multiarray", "_reconstruct"): Named(_reconstruct),
    ("numpy._core.multiarray", "_reconstruct"): Named(_reconstruct),
    ("builtins", "slice"): Named(_slice),
    ("__builtin__", "slice"): Named(_slice),
    ("pandas._libs.internals", "_unpickle_block"): Named(_block),
    ("pandas.core.indexes.base", "_new_Index"): Named(_new_index),
    **{(module, "DataFrame"): _Class(_Frame) for module in ("pandas", "pandas.core.frame")},
    **{
        (module, "BlockManager"): _Class(_Blocks)
        for module in ("pandas.core.internals", "pandas.core.internals.managers")
    },
    **{
        (module, name): _Class(_Index)
        for name in _INDEXES
        for module in (
            "pandas",
            "pandas.core.indexes.base",
            "pandas.core.indexes.range",
            "pandas.core.indexes.numeric",
        )
    },
}


class FrameUnpickler(ArrayUnpickler):
    """Lets data frames in, beside what :class:`~cosmos_lidar.pickles.ArrayUnpickler` does."""

    dispatch = dict(ArrayUnpickler.dispatch)
    names = _NAMES
    built = (*ArrayUnpickler.built, _Objects, _Values, _Blocks, _Frame)

    def load_newobj(self) -> None:
        """Make an object of a known class, without arguments."""
        arguments, kind = self.stack.pop(), self.stack.pop()
        if not isinstance(kind, _Class) or arguments != ():
            raise _Refused("makes an object of something else than a class of pandas")
        self.append(kind.made())

    def load_binbytes(self) -> None:
        """Make bytes of at most 4 GB."""
        self._load_bytes(4)

    def load_binbytes8(self) -> None:
        """Make bytes of any size."""
        self._load_bytes(8)

    def _load_bytes(self, digits: int) -> None:
        """Make bytes; many are read piece by piece, as a file may promise more than it has, and kept as they grow."""
        size = int.from_bytes(self.read(digits), "little")
        if size <= _PIECE:
            self.append(self.read(size))
            return
        content = bytearray()
        while len(content) < size:
            piece = self.read(min(_PIECE, size - len(content)))
            if not piece:
                raise EOFError
            content += piece
        self.append(content)

    dispatch[NEW_OBJECT] = load_newobj
    dispatch[BYTES], dispatch[LONG_BYTES] = load_binbytes, load_binbytes8


def load_frame(content: bytes | Stream) -> dict[str, np.ndarray]:
    """Return column -> (N,) numbers of a pickled data frame.

    Args:
        content: of the pickle, unpacked, or a stream of it.

    Raises:
        UnpicklingError: no data frame of numbers, or it refers to anything else.
        Exception: of any other kind where the file is damaged.
    """
    frame = FrameUnpickler(content).load()
    manager = frame.manager if isinstance(frame, _Frame) else None
    if not isinstance(manager, _Blocks):
        raise _Refused(f"holds a {type(frame).__name__}: expected a data frame of pandas")
    axes = list(manager.axes) if isinstance(manager.axes, list | tuple) else []
    labels = axes[0].labels if axes and isinstance(axes[0], _Index) else None
    if not isinstance(labels, list):
        raise _Refused("names its columns by something else than plain texts")
    found = {}
    for values, placement in _pairs(manager.blocks):
        array = values.values if isinstance(values, _Values) else values
        place = placement.values if isinstance(placement, _Values) else placement
        numbers = range(len(labels))[place] if isinstance(place, slice) else np.asarray(place).tolist()
        if not isinstance(array, np.ndarray) or array.ndim != 2 or len(array) != len(numbers):
            raise _Refused("holds a block that is no array of its columns")
        for number, column in zip(numbers, array, strict=True):
            found[labels[number]] = np.asarray(column)
    if len({len(column) for column in found.values()}) > 1 or set(found) != set(labels):
        raise _Refused("holds columns of different lengths, or not all of them")
    return found


def _pairs(blocks: Any) -> Iterable[tuple[Any, Any]]:
    if not isinstance(blocks, list | tuple) or not all(isinstance(one, tuple) and len(one) == 2 for one in blocks):
        raise _Refused("holds something else than blocks")
    return blocks
