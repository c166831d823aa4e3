"""Pairs of programs that do the same work: ours, and what a user would take instead. One file per kind of work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """The same work done twice.

    Attributes:
        work: what is done, with sizes.
        peer: name of the library or way that it is compared with.
        ours: does the work once.
        theirs: the same by the peer.
        clock: ``cpu`` for processor time of all threads, ``wall`` where the work waits for a disk.
        flops: of once, of our side; 0 where the share of the matrix-product rate means nothing.
        bytes: that are returned or written; 0 where rates mean nothing.
        limit: ``copy`` or ``disk``: which rate of this machine bounds ``bytes``.
        ours_alone: the part of ours whose rate is compared with the limit; None for ``ours``.
    """

    work: str
    peer: str
    ours: Callable[[], object]
    theirs: Callable[[], object]
    clock: str = "cpu"
    flops: int = 0
    bytes: int = 0
    limit: str = "copy"
    ours_alone: Callable[[], object] | None = None


Maker = Callable[[bool], Pair]  # whether sizes are small -> the pair; ModuleNotFoundError where the peer is absent
