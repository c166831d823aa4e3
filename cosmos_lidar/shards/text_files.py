"""Text embeddings in files: safetensors by the text itself, and the published pickles, which hold numpy arrays.

An embedding is (rows, width): one row for each token of a caption, without padding. A folder of shards has those of
its captions in ``text.safetensors``, named by the SHA-256 of the text, so that clips with one caption share one entry.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cosmos_lidar.arrays import read_npy
from cosmos_lidar.bounds import read_file
from cosmos_lidar.errors import DataError
from cosmos_lidar.files import atomic_write, read_header
from cosmos_lidar.pickles import load_arrays

if TYPE_CHECKING:
    from torch import Tensor

TEXTS = "text.safetensors"
PREFIXES = "prefixes.safetensors"
SUFFIXES = (".safetensors", ".pkl", ".pickle", ".npy")  # of embedding files, the preferred one first
ONE = "text"  # name of the tensor in a safetensors file of a single embedding
_LARGEST = 1 << 28  # bytes of one file: 512 rows of width 100,352 in float32 have 205 MB
_WANTED = "an embedding (rows, width) of float16 or float32, alone or in a list of one, as numpy arrays"


def text_key(text: str) -> str:
    """Return the name of a text's embedding: the SHA-256 of its UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()


def find_embedding(stem: Path) -> Path | None:
    """Return the file of an embedding, ``STEM.safetensors``, ``.pkl``, ``.pickle`` or ``.npy``; None without one."""
    files = (stem.with_name(stem.name + suffix) for suffix in SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def read_embedding(path: Path) -> np.ndarray:
    """Return the embedding (rows, width) in a file, float16 or float32.

    Pickles are read by an unpickler that builds numpy arrays, lists and numbers, and refuses everything else. They may
    hold an array or a list of one, of two dimensions, or of three with a first of one.

    Raises:
        DataError: it cannot be read, or holds something else; nothing in it has been executed.
    """
    if path.suffix not in _READERS:
        raise DataError(
            f"a file ending in {path.suffix or 'nothing'}", file=path, wanted=f"one of {', '.join(SUFFIXES)}"
        )
    try:
        content = read_file(path, "a text embedding", _LARGEST)
        return _as_rows(_READERS[path.suffix](content))
    except DataError as error:
        raise error.at(file=path, wanted=error.wanted or _WANTED) from error
    except Exception as error:  # of damaged pickles the interpreter makes errors of any kind
        raise DataError(f"not a text embedding: {error!s:.160}", file=path, wanted=_WANTED) from error


def read_npy_embedding(content: bytes, key: str) -> np.ndarray:
    """Return the embedding (rows, width) in the ``.npy`` part of a sample; ``key`` is its name, for messages.

    Raises:
        DataError: it cannot be read, or holds something else.
    """
    try:
        return _as_rows(read_npy(content, _LARGEST))
    except DataError as error:
        raise error.at(key=key) from error


def _read_safetensors(content: bytes) -> Any:
    from safetensors.numpy import load

    found = load(content)
    if len(found) != 1:
        raise DataError(f"{len(found)} tensors", wanted="a file of one embedding")
    return next(iter(found.values()))


def _as_rows(found: Any) -> np.ndarray:
    """Return (rows, width) of an array or a list of one, of any number of leading dimensions of one."""
    if isinstance(found, (list, tuple)):
        if len(found) != 1:
            raise DataError(f"a list of {len(found)}", wanted=_WANTED)
        found = found[0]
    if not isinstance(found, np.ndarray) or found.dtype.kind != "f" or found.dtype.itemsize not in (2, 4):
        kind = found.dtype if isinstance(found, np.ndarray) else type(found).__name__
        raise DataError(f"it holds a {kind}", wanted=_WANTED)
    array = np.asarray(found)
    while array.ndim > 2 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or not array.size:
        raise DataError(f"an array of shape {found.shape}", wanted=_WANTED)
    if not np.isfinite(array).all():
        raise DataError("values that are NaN or infinite", wanted="finite numbers")
    return array.astype(array.dtype.newbyteorder("="), order="C")


_READERS: Mapping[str, Callable[[bytes], Any]] = {
    ".safetensors": _read_safetensors,
    ".pkl": load_arrays,
    ".pickle": load_arrays,
    ".npy": lambda content: read_npy(content, _LARGEST),
}


def write_embeddings(path: Path, tensors: Mapping[str, np.ndarray], facts: Mapping[str, str]) -> None:
    """Write embeddings as safetensors, atomically.

    Args:
        path: of the file.
        tensors: name -> (rows, width) float16 or float32.
        facts: what goes into the header, such as the name of the encoder.

    Raises:
        DataError: the disk is full, or another failure to write.
    """
    from safetensors.numpy import save

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            partial.write_bytes(
                save({name: np.ascontiguousarray(array) for name, array in tensors.items()}, dict(facts))
            )
    except OSError as error:
        raise DataError(f"cannot write: {error.strerror}", file=path, wanted="a folder with free space") from error


class TextStore:
    """Embeddings of a safetensors file by name; the file is opened when first asked, once per process.

    Args:
        path: of the file; where it is not there, the store is empty.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None
        self._names: frozenset[str] = frozenset()
        self._owner = 0

    def __getstate__(self) -> dict[str, Path]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Path]) -> None:
        TextStore.__init__(self, **state)

    def get(self, name: str) -> Tensor | None:
        """Return an embedding (rows, width), or None where the file has none of that name.

        Raises:
            DataError: the file is damaged.
        """
        return self._open().get_tensor(name) if name in self else None

    def __contains__(self, name: str) -> bool:
        self._open()
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        self._open()
        return iter(sorted(self._names))

    def facts(self) -> dict[str, str]:
        """Return what the header of the file holds."""
        return read_header(self.path, "text embeddings") if self.path.is_file() else {}

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an embedding."""
        return tuple(self._open().get_slice(name).get_shape())

    def _open(self) -> Any:
        if self._owner == os.getpid():
            return self._file
        if self.path.is_file():
            from safetensors import SafetensorError, safe_open

            try:
                self._file = safe_open(self.path, "pt")
            except (OSError, SafetensorError) as error:
                problem = f"not a safetensors file ({error!s:.160})"
                raise DataError(problem, file=self.path, wanted="what `cosmos-lidar embed-captions` wrote") from error
            self._names = frozenset(self._file.keys())
        self._owner = os.getpid()
        return self._file
