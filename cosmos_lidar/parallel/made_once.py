"""Run a function on rank 0; the other ranks wait for its output file on the shared file system."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from cosmos_lidar.errors import UserError
from cosmos_lidar.parallel.mesh import process_rank

_WAIT_S = 600.0


def made_once(folder: Path, done: Path, make: Callable[[], None]) -> Path:
    """Return ``folder`` once ``done``, the last file that ``make`` writes into it, is there; rank 0 calls ``make``.

    Raises:
        UserError: rank 0 took too long.
    """
    if process_rank() == 0:
        if not done.exists():
            make()
        return folder
    started = time.monotonic()
    while not done.exists():
        if time.monotonic() - started > _WAIT_S:
            raise UserError(f"{done} was not written within {_WAIT_S:.0f} s by the process of rank 0")
        time.sleep(0.2)
    return folder
