"""Rendezvous of the ranks of a run: all arrive in time, or those that did not are named."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from cosmos_lidar.errors import RanksMissingError
from cosmos_lidar.log import warn_once_a_minute

if TYPE_CHECKING:
    from torch.distributed import Store

_POLL_S = 0.05
_PATIENT_S = 30.0  # before it is said who is waited for
_FOREVER = timedelta(days=7)
_stores: dict[tuple[str, int], Store] = {}
_meetings = itertools.count()  # a process may join several groups, one after the other, through the same store


def meet(rank: int, world: int, timeout_s: float) -> Store:
    """Wait until every rank has arrived at ``MASTER_ADDR:MASTER_PORT``, and return the store that they share.

    Rank 0 hosts the store, unless ``torchrun`` does.

    Args:
        rank: of this process.
        world: number of ranks.
        timeout_s: in which all must arrive; 0 waits forever.

    Raises:
        RanksMissingError: after the timeout; the message names the ranks that are missing.
    """
    import torch.distributed as dist

    began, meeting = time.monotonic(), next(_meetings)
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if (host, port) not in _stores:  # kept: ranks that meet again must not meet at a store that is being closed
        _stores[host, port] = _open_store(host, port, rank, timeout_s)
    store = _stores[host, port]
    keys = [f"meeting_{meeting}/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}/rank_{r}" for r in range(world)]
    store.set(keys[rank], "here")
    while not store.check(keys):
        waited = time.monotonic() - began
        missing = [number for number, key in enumerate(keys) if not store.check([key])]
        if timeout_s and waited > timeout_s:
            raise RanksMissingError(f"{name_ranks(missing)} of {world} did not arrive within {timeout_s:.0f} s")
        if waited > _PATIENT_S and rank == 0:
            warn_once_a_minute("ranks", "waiting for %s of %d, for %.0f s so far", name_ranks(missing), world, waited)
        time.sleep(_POLL_S)
    return dist.PrefixStore(f"meeting_{meeting}", store)


def _open_store(host: str, port: int, rank: int, timeout_s: float) -> Store:
    from torch.distributed import DistError, TCPStore

    hosts = rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    limit = timedelta(seconds=timeout_s) if timeout_s else _FOREVER
    try:
        return TCPStore(host, port, None, hosts, limit, wait_for_workers=False, multi_tenant=True)
    except DistError as error:
        reason = str(error).splitlines()[0]
        raise RanksMissingError(
            f"rank 0 cannot be reached at {host}:{port} within {timeout_s:.0f} s ({reason:.160}): it did not start, or "
            "MASTER_ADDR and MASTER_PORT are not its own"
        ) from error


def name_ranks(ranks: Sequence[int]) -> str:
    """Return ``rank 3`` or ``ranks 1, 3``; of many the first twenty."""
    names = ", ".join(str(rank) for rank in ranks[:20]) + (", …" if len(ranks) > 20 else "")
    return f"rank{'s' * (len(ranks) > 1)} {names}"
