"""What was read last of a recording: every camera of a clip is drawn from the same sweeps and boxes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")
_MOST = 64  # moments


class Recent(Generic[T]):
    """The last values that were read, by sweep or time."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, read: Callable[[], T]) -> T:
        """Return the value of ``key``, read where it is not among the last ones."""
        if key not in self._kept:
            while len(self._kept) >= _MOST:
                self._kept.popitem(last=False)
            self._kept[key] = read()
        return self._kept[key]
