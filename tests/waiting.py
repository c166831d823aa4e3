"""Waiting for something that another process does, however busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 600.0  # only what hangs takes so long


def wait_until(true: Callable[[], object], what: str, patience_s: float = PATIENCE_S, pause_s: float = 0.02) -> None:
    """Return as soon as ``true()`` holds.

    Args:
        true: looked at again and again; may raise what a test shall fail with at once.
        what: what is waited for, for the message.
        patience_s: a limit for what hangs, not for what is slow.
        pause_s: between two looks.

    Raises:
        TimeoutError: it never held.
    """
    end = time.monotonic() + patience_s
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {patience_s:.0f} s")
        time.sleep(pause_s)


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
