"""Worker processes that exit with their parent process, and Ctrl-C deferred to where the parent can stop."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


def end_with_parent() -> None:
    """In a worker: exit when the parent process ends, even if it is killed, so that orphaned workers exit."""
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


@contextmanager
def interrupt_deferred() -> Iterator[Callable[[], bool]]:
    """Defer SIGINT (Ctrl-C) in a block: the first one makes the yielded function return True, a second one raises.

    ``KeyboardInterrupt`` can be raised between any two statements, such as taking a result and recording it. Where
    SIGINT does not raise it (ignored, another handler, not the main thread) nothing changes.
    """
    interrupts: list[int] = []
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield lambda: False
        return

    def note(number: int, frame: FrameType | None) -> None:
        interrupts.append(number)
        if len(interrupts) > 1:
            signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(interrupts)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
