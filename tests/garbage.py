"""Garbage collections of a test process look at what tests made, not at the millions of objects of all imports.

Energon collects garbage before every pass over data: 0.5 s each time in a process that has imported everything.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Import all tests without collections, and leave what was imported out of the later ones."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()
        gc.unfreeze = _stay_frozen  # Energon freezes before a pass and unfreezes everything after it


def _stay_frozen() -> None:
    """Do nothing."""
