"""Unpickling of data: containers, numbers, texts and plain numeric arrays, built by functions of this module alone.

A pickle is a program. Allowing it some names of other packages allows it to *call* them with any arguments, which is
enough to crash Python (``numpy.ndarray`` over a text of addresses). Here a name in the file stands for a function or
class of this program which looks at its arguments; nothing is imported because a file names it. The interpreter is
Python's own in Python: the one in C allocates what a pickle promises.

Also refused: keys of dictionaries and sets that are nested (hashing those overflows the stack), and changes of
functions and classes (``BUILD`` on what is no new object).
"""

from __future__ import annotations

import io
import math
import mmap
import pickle
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
else:
    try:
        import numpy as np
    except ModuleNotFoundError:  # networks run where torch is all there is; arrays in pickles are then refused
        np = None

_Interpreter: Any = pickle._Unpickler  # type: ignore[attr-defined]
_DTYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248]|c(?:8|16)|[SU]\d{1,6})")
_DEEPEST_KEY = 4
_Refused = UnpicklingError = pickle.UnpicklingError
BYTES, LONG_BYTES = pickle.BINBYTES[0], pickle.BINBYTES8[0]
NEW_OBJECT = pickle.NEWOBJ[0]  # code of the instruction that makes an object of a class


class Stream(Protocol):
    """A file that has at most so many bytes."""

    def __len__(self) -> int:
        """Return how many."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes."""

    def readline(self) -> bytes:
        """Return the bytes up to the next end of a line."""


class DataUnpickler(_Interpreter):
    """Reads one pickle.

    Args:
        content: the file, or what lies in memory of it (a ``mmap``), or a stream whose length is what it has at most:
            it is read from where it stands, and stands after the pickle when that has been loaded.
    """

    dispatch = dict(_Interpreter.dispatch)
    names: Mapping[tuple[str, str], Any] = {}  # of a subclass: what a name in the file stands for
    built: tuple[type, ...] = ()  # of a subclass: classes whose instances a pickle may give a state
    keys: tuple[type, ...] = ()  # of a subclass: classes that may be keys, beside numbers and texts

    def __init__(self, content: bytes | io.BytesIO | mmap.mmap | Stream) -> None:
        stream = io.BytesIO(content) if isinstance(content, bytes) else content
        self._size = stream.getbuffer().nbytes if isinstance(stream, io.BytesIO) else len(stream)
        super().__init__(stream)

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name, or refuse it."""
        try:
            return self.names[module, name]
        except KeyError:
            raise _Refused(f"refers to {module}.{name}, which may run anything") from None

    def load_build(self) -> None:
        """Give a new object its state."""
        state, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, self.built):
            raise _Refused(f"gives a state to a {type(target).__name__}")
        if hasattr(target, "__setstate__"):
            target.__setstate__(state)
        elif isinstance(state, dict) and all(isinstance(name, str) for name in state):
            vars(target).update(state)
        else:
            raise _Refused(f"gives a {type(target).__name__} a state of {type(state).__name__}")

    def load_setitem(self) -> None:
        """Put one entry into a dictionary."""
        value, key = self.stack.pop(), self.stack.pop()
        self._put([key, value])

    def load_setitems(self) -> None:
        """Put entries into a dictionary."""
        self._put(self.pop_mark())

    def load_dict(self) -> None:
        """Make a dictionary."""
        items = self.pop_mark()
        self.append({})
        self._put(items)

    def load_additems(self) -> None:
        """Add to a set."""
        items, target = self.pop_mark(), self.stack[-1]
        if not isinstance(target, set):
            raise _Refused(f"adds to a {type(target).__name__}")
        target.update(map(self._checked_key, items))

    def load_frozenset(self) -> None:
        """Make a frozen set."""
        self.append(frozenset(map(self._checked_key, self.pop_mark())))

    def load_bytearray8(self) -> None:
        """Make an array of bytes, of at most the size of the file."""
        size = int.from_bytes(self.read(8), "little")
        if size > self._size:
            raise _Refused(f"promises {size} bytes")
        self.append(bytearray(self.read(size)))

    def _put(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise _Refused(f"puts entries into a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self._checked_key(key)] = value

    def _checked_key(self, key: Any, depth: int = 0) -> Any:
        if isinstance(key, (str, bytes, int, float, complex, type(None), *self.keys)):
            return key
        if isinstance(key, tuple) and depth < _DEEPEST_KEY:
            for item in key:
                self._checked_key(item, depth + 1)
            return key
        raise _Refused(f"uses a {type(key).__name__} as a key")

    for _code, _load in (
        (pickle.BUILD, load_build),
        (pickle.SETITEM, load_setitem),
        (pickle.SETITEMS, load_setitems),
        (pickle.DICT, load_dict),
        (pickle.ADDITEMS, load_additems),
        (pickle.FROZENSET, load_frozenset),
        (pickle.BYTEARRAY8, load_bytearray8),
    ):
        dispatch[_code[0]] = _load


class Named:
    """What stands for a function or class in a pickle; called by the interpreter, and nothing else can be done to it.

    Args:
        function: that is called.
    """

    __slots__ = ("_function",)

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        return self._function(*arguments)


class _Dtype:
    """The dtype of plain numbers or texts."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str) or not _DTYPE.fullmatch(text):
            raise _Refused(f"names the dtype {text!r:.40}: expected plain numbers or texts")
        if np is None:
            raise _Refused("holds an array, and numpy is not installed")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: Any) -> None:
        # (version, byte order, …): the rest is the fields of a dtype, or the size of a text again
        if not isinstance(state, tuple) or len(state) < 5 or state[1] not in ("<", ">", "|", "="):
            raise _Refused("gives a dtype another state than numpy does")
        if any(part is not None for part in state[2:5]):
            raise _Refused("names a dtype with fields")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray if TYPE_CHECKING or np is not None else object):  # type: ignore[misc]
    """An array that a pickle fills."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _Refused("gives an array another state than numpy does")
        _, shape, dtype, fortran, content = state
        content = bytes(_bytes(content))
        super().__setstate__((1, _shape(shape, dtype, content), dtype.dtype, bool(fortran), content))


_KIND = object()  # stands for the class numpy.ndarray, which cannot be called


def _shape(shape: Any, dtype: Any, content: bytes | bytearray) -> tuple[int, ...]:
    """Return the shape of an array if it needs just the bytes that are there."""
    if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple) or len(shape) > 32:
        raise _Refused("describes an array by something else than shape and dtype")
    if not all(type(length) is int and 0 <= length < 1 << 48 for length in shape):
        raise _Refused(f"describes an array of shape {shape!r:.80}")
    if not dtype.dtype.itemsize or math.prod(shape) * dtype.dtype.itemsize != len(content):
        raise _Refused(f"describes an array of shape {shape} and {dtype.dtype} by {len(content)} bytes")
    return shape


def _bytes(content: Any) -> bytes | bytearray:
    if not isinstance(content, (bytes, bytearray)):
        raise _Refused(f"fills an array with a {type(content).__name__}: expected bytes")
    return content


def _reconstruct(kind: Any, shape: Any, code: Any) -> np.ndarray:
    if kind is not _KIND or shape != (0,):
        raise _Refused("makes an array in another way than numpy does")
    if np is None:
        raise _Refused("holds an array, and numpy is not installed")
    return np.empty(0, np.int8).view(_Array)


def _from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    content = _bytes(content)
    shape = _shape(shape, dtype, content)
    if order not in ("C", "F"):
        raise _Refused(f"an array of order {order!r:.20}")
    return np.frombuffer(content, dtype.dtype).reshape(shape, order=order)


def _scalar(dtype: Any, content: Any) -> Any:
    content = _bytes(content)
    _shape((), dtype, content)
    return np.frombuffer(content, dtype.dtype)[0]


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise _Refused("encodes something else than bytes")
    return text.encode("latin1")


def _empty() -> bytes:
    return b""


def _dtype(text: Any, align: Any = False, copy: Any = False) -> _Dtype:
    return _Dtype(text)


ARRAYS: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): Named(_dtype),
    ("numpy", "ndarray"): _KIND,
    ("_codecs", "encode"): Named(_encode),
    ("__builtin__", "bytes"): Named(_empty),  # how old protocols write no bytes at all
    ("builtins", "bytes"): Named(_empty),
    **{
        (f"numpy.{core}.{module}", name): Named(function)
        for core in ("core", "_core")
        for module, name, function in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}


class ArrayUnpickler(DataUnpickler):
    """Lets numbers, texts, containers and plain numeric arrays in."""

    names = ARRAYS
    built: tuple[type, ...] = (_Array, _Dtype)


def load_arrays(content: bytes) -> Any:
    """Return what a pickle of numbers, texts, containers and plain numeric arrays holds.

    Raises:
        pickle.UnpicklingError: it refers to anything else, or promises more than it has.
        Exception: of any other kind where the file is damaged.
    """
    return ArrayUnpickler(content).load()
