"""Weights in files, memory-mapped: safetensors, ``torch.save`` and TorchScript, read tensor by tensor."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

_MADV_DONTNEED = 4  # of madvise(2)


class StoredWeights:
    """Tensors of files by name, each read when it is used.

    Args:
        tensors: memory-mapped or not.
        files: that they are mapped from.
    """

    def __init__(self, tensors: Mapping[str, Tensor], files: Iterable[Path] = ()) -> None:
        self._tensors = tensors
        self._mapped = _mappings(files)

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def read(self, name: str) -> Tensor:
        """Return a whole tensor; parts of it that are not used are not read from the file."""
        return self._tensors[name]

    def release(self, value: Tensor) -> None:
        """Give back the memory of a tensor that was read; it keeps its values, which the file has."""
        first, size = value.untyped_storage().data_ptr(), value.untyped_storage().nbytes()
        start, end = -(-first // mmap.PAGESIZE) * mmap.PAGESIZE, (first + size) // mmap.PAGESIZE * mmap.PAGESIZE
        if start < end and any(low <= start and end <= high for low, high in self._mapped):
            ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _MADV_DONTNEED)


def _mappings(files: Iterable[Path]) -> list[tuple[int, int]]:
    """Return the addresses at which files are mapped; none where the system has no list of them."""
    wanted = {str(path.resolve()) for path in files}
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        addresses, _, _, _, _, *name = line.split(maxsplit=5)
        if name and name[0] in wanted:
            low, high = addresses.split("-")
            found.append((int(low, 16), int(high, 16)))
    return found
