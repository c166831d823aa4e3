"""Folder lock: one process group at a time writes to a folder, including workers that outlive a killed run."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cosmos_lidar.errors import UserError
from cosmos_lidar.log import logger

_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.EBADF)  # some network file systems
_PAUSE_S = 0.05


@contextmanager
def alone_in(folder: Path, patience_s: float = 10.0, shared: bool = False) -> Iterator[None]:
    """Hold the folder for one run; processes forked meanwhile hold it too, until the last of them has ended.

    Nothing is written: the lock is on the folder itself, and goes with the processes however they end. On a file system
    without locks there is none.

    Args:
        folder: what is written to.
        patience_s: how long to wait for workers of a run that was just killed.
        shared: hold it together with others that do so, each of which writes other files, against those that do not.

    Raises:
        UserError: another run is at work there.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(handle, folder, time.monotonic() + patience_s, shared)
        try:
            yield
        finally:
            _unlock(handle)
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path, deadline: float, shared: bool) -> None:
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        try:
            return fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                what = f"another run is writing to {folder}: wait for its end, or take another folder"
                raise UserError(what) from error
            time.sleep(_PAUSE_S)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return logger.debug("%s: no locks on this file system", folder)


def _unlock(handle: int) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_UN)  # closing alone would leave it with forked processes that live on
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
