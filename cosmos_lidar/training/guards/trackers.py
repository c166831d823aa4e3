"""Experiment trackers (TensorBoard, wandb, mlflow) that cannot end a run: what they fail at is logged and left out."""

from __future__ import annotations

import functools
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from cosmos_lidar.files import is_write_failure
from cosmos_lidar.log import warn_once_a_minute

_REST_S = 60.0  # a tracker that failed is left alone for so long
_GUARDED = ("log_hyperparams", "finalize", "save")  # what Lightning calls by itself
_PROBE = b"\0" * 65536

_rests_until: dict[int, float] = {}  # by the tracker's id


def guard_trackers(trackers: Iterable[Any]) -> None:
    """Let what Lightning calls of each tracker by itself log its errors instead of raising them.

    Else an error on closing a log would take the place of the error that ended a run.
    """
    for tracker in trackers:
        for name in _GUARDED:
            if callable(method := getattr(tracker, name, None)):
                setattr(tracker, name, _without_errors(tracker, method))
    _silence_writers()


def hand_over(tracker: Any, values: dict[str, float], step: int) -> None:
    """Give a tracker the values of a step; after an error none for a minute, and for as long as its disk is full."""
    if time.monotonic() < _rests_until.get(id(tracker), 0.0):
        return
    if id(tracker) in _rests_until and not _can_write(tracker):
        _let_rest(tracker)
        return
    try:
        tracker.log_metrics(values, step=step)
        _rests_until.pop(id(tracker), None)
    except Exception as error:  # of as many kinds as there are trackers, disks and networks
        _complain(tracker, error)
        _let_rest(tracker)
        if getattr(tracker, "_experiment", None) is not None and type(tracker).__name__ == "TensorBoardLogger":
            tracker._experiment = None  # its writing thread has ended: the next values go to a new file


def _let_rest(tracker: Any) -> None:
    _rests_until[id(tracker)] = time.monotonic() + _REST_S


def _can_write(tracker: Any) -> bool:
    """Tell whether the tracker's folder takes a small file; True for a tracker without a folder."""
    folder = getattr(tracker, "log_dir", None)
    if not folder:
        return True
    probe = Path(folder, f".{uuid.uuid4().hex}.part")
    try:
        probe.write_bytes(_PROBE)
        return True
    except OSError:
        return False
    finally:
        with suppress(OSError):  # read-only
            probe.unlink(missing_ok=True)


def _complain(tracker: Any, error: BaseException) -> None:
    name, text = type(tracker).__name__, f"{type(error).__name__}: {error}"
    warn_once_a_minute(name, "%s failed (%.200s) and is left out; metrics.csv has all values", name, text)


def _without_errors(tracker: Any, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return method(*args, **options)
        except Exception as error:
            _complain(tracker, error)
            return None

    return call


def _silence_writers() -> None:
    """Keep TensorBoard's writing thread from printing the trace of a full disk; the tracker's next call raises it."""
    before = threading.excepthook
    if getattr(before, "for_trackers", False):
        return

    def hook(args: threading.ExceptHookArgs) -> None:
        inside = type(args.thread).__module__.startswith("tensorboard")
        if not (inside and args.exc_value is not None and is_write_failure(args.exc_value)):
            before(args)

    hook.for_trackers = True  # type: ignore[attr-defined]
    threading.excepthook = hook
