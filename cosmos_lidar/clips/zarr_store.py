"""Zarr v2 stores as NVIDIA NCore V4 writes them (``.zarr.itar``, ``.zarr`` folders); needs the extra ``ncore``.

They are read here, without zarr: its codecs include pickle, and a file names the codec. Read are arrays of plain
numbers or bytes, uncompressed or in Blosc; all metadata come from the consolidated copy. Sizes are bounded before
anything is unpacked.

An indexed tar (itar) ends with a block ``itar``, type 1, offset and size of its index: XZ-compressed CBOR of names,
offsets and sizes.
"""

from __future__ import annotations

import itertools
import lzma
import math
import re
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.bounds import expect_size, largest_item, read_file
from cosmos_lidar.errors import DataError
from cosmos_lidar.extras import require

METADATA = ".zmetadata.cbor.xz"
_TAIL = struct.Struct("<4sIQI")
_BLOCK = 512
_WORKING = 1 << 28  # bytes that LZMA may take for its dictionary
_DTYPE = re.compile(r"[<|](b1|[iu][1248]|f[248]|S\d{1,10})")
_CHUNKS = 4096  # of one array
_WANTED = "a store that NCore V4 wrote"


def open_store(path: Path) -> ZarrStore:
    """Return a store; those of unchanged files are kept open.

    Raises:
        DataError: not such a store, damaged, or larger than the limit.
        UserError: the extra is not installed.
    """
    try:
        stat = (path if path.is_file() else path / METADATA).stat()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path, wanted=_WANTED) from error
    return _cached(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=32)
def _cached(path: Path, _time: int, _size: int) -> ZarrStore:
    return ZarrStore(path)


class ZarrStore:
    """Groups, attributes and arrays of one store.

    Args:
        path: a ``.zarr.itar`` file, or a ``.zarr`` folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._index = _read_index(path) if path.is_file() else None
        document = _unpack(self._read(METADATA), path, METADATA)
        metadata = document.get("metadata") if isinstance(document, dict) else None
        if not isinstance(metadata, dict) or document.get("zarr_consolidated_format") != 1:
            raise self.broken("no consolidated metadata of format 1", METADATA)
        self._metadata: dict[Any, Any] = metadata
        self._children: dict[str, dict[str, None]] = {}
        for key in metadata:
            parts = key.split("/")[:-1] if isinstance(key, str) else []
            for depth in range(len(parts)):
                self._children.setdefault("/".join(parts[:depth]), {})[parts[depth]] = None

    def broken(self, problem: str, key: str, wanted: str = _WANTED) -> DataError:
        """Return the error of an entry."""
        return DataError(problem, file=self.path, key=key, wanted=wanted)

    def children(self, path: str) -> list[str]:
        """Return the names of groups and arrays in a group; none where there is no such group."""
        return list(self._children.get(path, ()))

    def attributes(self, path: str) -> dict[str, Any]:
        """Return the attributes of a group or array; empty where it has none.

        Raises:
            DataError: they are no mapping.
        """
        found = self._metadata.get(f"{path}/.zattrs" if path else ".zattrs", {})
        if not isinstance(found, dict):
            raise self.broken(f"attributes are a {type(found).__name__}", path)
        return found

    def has_array(self, path: str) -> bool:
        """Return whether there is an array of that path."""
        return f"{path}/.zarray" in self._metadata

    def shape(self, path: str) -> tuple[int, ...]:
        """Return the shape of an array; nothing is decoded.

        Raises:
            DataError: no such array, or one of a kind that is not read.
        """
        return self._description(path)[0]

    def array(self, path: str) -> np.ndarray:
        """Return an array; read-only where it is stored in one chunk.

        Raises:
            DataError: no such array, another kind, damaged, or larger than the limit.
        """
        shape, chunks, dtype, fill = self._description(path)
        separator = self._metadata[f"{path}/.zarray"].get("dimension_separator", ".")
        if shape == chunks and self._contains(only := f"{path}/{separator.join('0' * len(shape)) or '0'}"):
            return np.frombuffer(self._chunk(only, path, math.prod(shape) * dtype.itemsize), dtype).reshape(shape)
        found = np.full(shape, fill, dtype)
        for place in itertools.product(*(range(-(-size // step)) for size, step in zip(shape, chunks, strict=True))):
            key = f"{path}/{separator.join(map(str, place)) if place else '0'}"
            if not self._contains(key):
                continue
            chunk = self._chunk(key, path, math.prod(chunks) * dtype.itemsize)
            where = tuple(slice(at * step, (at + 1) * step) for at, step in zip(place, chunks, strict=True))
            part = np.frombuffer(chunk, dtype).reshape(chunks)
            found[where] = part[tuple(slice(size) for size in found[where].shape)] if place else part
        return found

    def _description(self, path: str) -> tuple[tuple[int, ...], tuple[int, ...], np.dtype, Any]:
        """Return shape, shape of a chunk, dtype and fill value of an array."""
        entry = self._metadata.get(f"{path}/.zarray")
        if not isinstance(entry, dict):
            raise self.broken("no such array", path)
        shape, chunks, text = entry.get("shape"), entry.get("chunks"), entry.get("dtype")
        codec = entry.get("compressor")
        codec = codec.get("id") if isinstance(codec, dict) else codec
        if entry.get("filters") or codec not in (None, "blosc") or entry.get("order") != "C":
            found = f"filters {entry.get('filters')!r:.60}, compressor {codec!r:.40}, order {entry.get('order')!r:.4}"
            raise self.broken(found, path, "no filters, Blosc or no compressor, order C")
        if not isinstance(text, str) or not _DTYPE.fullmatch(text) or entry.get("dimension_separator", ".") not in "./":
            raise self.broken(f"dtype {text!r:.60}", path, "numbers or bytes, little-endian")
        if not (_are_sizes(shape, 0) and _are_sizes(chunks, 1)) or shape is None or chunks is None:
            raise self.broken(f"shape {shape!r:.60}, chunks {chunks!r:.60}", path)
        if len(shape) != len(chunks):
            raise self.broken(f"shape {shape!r:.60}, chunks {chunks!r:.60}", path)
        dtype = np.dtype(text)
        count = math.prod(-(-size // step) for size, step in zip(shape, chunks, strict=True))
        size = max(math.prod(shape), math.prod(chunks)) * dtype.itemsize
        expect_size(size, f"an array of shape {tuple(shape)}", file=self.path, key=path)
        if count > _CHUNKS or dtype.itemsize == 0:
            raise self.broken(f"{count} chunks of {text}", path, f"at most {_CHUNKS} chunks")
        fill = entry.get("fill_value") if dtype.kind != "S" and isinstance(entry.get("fill_value"), int | float) else 0
        return tuple(shape), tuple(chunks), dtype, b"" if dtype.kind == "S" else fill

    def _chunk(self, key: str, path: str, size: int) -> bytes:
        """Return the ``size`` bytes of a chunk."""
        content = self._read(key)
        if self._metadata[f"{path}/.zarray"].get("compressor") is not None:
            # Blosc: version, codec, flags, item size (1 byte each), bytes, block size, compressed bytes (4 each)
            unpacked, packed = (int.from_bytes(content[at : at + 4], "little") for at in (4, 12))
            if len(content) < 16 or unpacked != size or packed != len(content):
                raise self.broken(f"{len(content)} bytes of Blosc for {unpacked}", key, f"a chunk of {size} bytes")
            try:
                content = require("numcodecs.blosc").decompress(content)
            except Exception as error:  # RuntimeError and others, by the version of numcodecs
                raise self.broken(f"Blosc does not decode it: {error!s:.100}", key) from error
        if len(content) != size:
            raise self.broken(f"{len(content)} bytes", key, f"a chunk of {size} bytes")
        return content

    def _contains(self, key: str) -> bool:
        return key in self._index if self._index is not None else (self.path / _safe(key, self.path)).is_file()

    def _read(self, key: str) -> bytes:
        if self._index is None:
            try:
                return read_file(self.path / _safe(key, self.path), "a part of a store")
            except OSError as error:
                raise self.broken(f"cannot be read: {error.strerror}", key) from error
        if key not in self._index:
            raise self.broken("no such entry", key)
        offset, size = self._index[key]
        expect_size(size, "an entry", file=self.path, key=key)
        with self.path.open("rb", buffering=0) as file:
            file.seek(offset)
            content = file.read(size)
        if len(content) != size:
            raise self.broken(f"{len(content)} of {size} bytes", key, "a complete file")
        return content


def _safe(key: str, path: Path) -> str:
    """Return a key that names a file inside the folder of a store."""
    if key.startswith("/") or "\\" in key or any(part in ("", "..") for part in key.split("/")):
        raise DataError("a name that leads out of the store", file=path, key=key, wanted=_WANTED)
    return key


def _are_sizes(values: Any, least: int) -> bool:
    if not isinstance(values, list | tuple) or len(values) > 8:
        return False
    return all(isinstance(one, int) and not isinstance(one, bool) and least <= one < 1 << 40 for one in values)


def _read_index(path: Path) -> dict[str, tuple[int, int]]:
    """Return name -> (offset, size) of an indexed tar."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(size - _BLOCK, 0))
        tail = file.read(_BLOCK)
        magic, kind, offset, length = _TAIL.unpack(tail[: _TAIL.size]) if len(tail) == _BLOCK else (b"", 0, 0, 0)
        if magic != b"itar" or kind != 1 or offset + length > size:
            problem = f"it ends with {tail[:4]!r}, type {kind}"
            raise DataError(problem, file=path, key="index", wanted="a complete .zarr.itar file")
        file.seek(offset)
        document = _unpack(file.read(length), path, "index")
    columns = [document.get(key) if isinstance(document, dict) else None for key in ("items", "offset_datas", "sizes")]
    names, offsets, sizes = (column if isinstance(column, list | tuple) else None for column in columns)
    if names is None or offsets is None or sizes is None or not len(names) == len(offsets) == len(sizes):
        raise DataError("not a table of items, offsets and sizes", file=path, key="index", wanted=_WANTED)
    if not all(isinstance(name, str) for name in names):
        raise DataError("names that are no text", file=path, key="index", wanted=_WANTED)
    if not all(type(one) is int and 0 <= one <= size for column in (offsets, sizes) for one in column):
        raise DataError("offsets beyond the file", file=path, key="index", wanted="a complete .zarr.itar file")
    return dict(zip(names, zip(offsets, sizes, strict=True), strict=True))


def _unpack(content: bytes, path: Path, key: str) -> Any:
    """Return what XZ-compressed CBOR holds; at most the limit is unpacked."""
    limit = largest_item()
    try:
        unpacker = lzma.LZMADecompressor(memlimit=_WORKING)
        text = unpacker.decompress(content, max_length=limit + 1)
        expect_size(len(text), "the metadata of a store", file=path, key=key)
        if not unpacker.eof:
            raise EOFError("it ends early")
        return require("cbor2").loads(text)
    except DataError:
        raise
    except Exception as error:  # LZMA and CBOR have classes of their own
        raise DataError(f"not readable: {error!s:.100}", file=path, key=key, wanted=_WANTED) from error
