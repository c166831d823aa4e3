"""How much memory a training step needs: counted on shapes alone, before anything is allocated."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_M_MMAP_THRESHOLD = -3  # of mallopt(3)


def give_memory_back() -> None:
    """Let the C library return freed tensors of a megabyte or more to the system at once (glibc; nothing elsewhere).

    By itself it keeps growing pools for them, and a training process ends up a quarter larger than its tensors. But
    every tensor then comes in fresh pages, each of which the system clears first: steps take 1.3 to 1.7 times as long
    (docs/performance.md).
    """
    try:
        ctypes.CDLL("libc.so.6").mallopt(_M_MMAP_THRESHOLD, 1 << 20)
    except OSError:
        return


class PeakMemory(TorchDispatchMode):
    """Counts the bytes of all tensor storages that are alive, while it is the current mode.

    Works on fake tensors as on real ones. Distributed tensors count with what this rank holds.

    Attributes:
        now: bytes alive.
        peak: the most that ``now`` has been.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}

    def add(self, tensors: Any) -> None:
        """Count tensors that are there already."""
        for leaf in tree_leaves(tensors):
            if isinstance(leaf, Tensor):
                self._note(leaf.to_local() if isinstance(leaf, DTensor) else leaf)

    def __torch_dispatch__(self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Run an operation and count what it made."""
        if any(issubclass(kind, DTensor) for kind in types):
            return NotImplemented  # it comes back here with the part of this rank
        out = func(*args, **(kwargs or {}))
        self.add(out)
        return out

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count inside the ``with`` block, also what sharding frees and takes again by resizing storages."""
        resize = torch.UntypedStorage.resize_

        def counted(storage: torch.UntypedStorage, size: int) -> Any:
            done = resize(storage, size)
            if storage._cdata in self._sizes:
                self._set(storage._cdata, storage.nbytes())
            return done

        setattr(torch.UntypedStorage, "resize_", counted)  # noqa: B010 - types do not let a method be replaced
        try:
            with self:
                yield
        finally:
            setattr(torch.UntypedStorage, "resize_", resize)  # noqa: B010

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._sizes:
            self._sizes[key] = 0
            weakref.finalize(storage, self._forget, key)
        self._set(key, storage.nbytes())

    def _set(self, key: int, size: int) -> None:
        self.now += size - self._sizes[key]
        self._sizes[key] = size
        self.peak = max(self.peak, self.now)

    def _forget(self, key: int) -> None:
        self.now -= self._sizes.pop(key, 0)
