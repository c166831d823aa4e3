"""State of a training run, as its folder records it: running, finished, interrupted, failed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from cosmos_lidar.training.owner import Owner
from cosmos_lidar.training.run_folder import METRICS

State = Literal["running", "finished", "interrupted", "failed", "unknown"]


class Progress(NamedTuple):
    """How far a run came.

    Attributes:
        logged: last step of its metrics.csv, 0 without one.
        saved: step of its newest checkpoint, 0 without one.
        wanted: ``trainer.max_steps``, None where its options cannot be read.
    """

    logged: int
    saved: int
    wanted: int | None

    @property
    def step(self) -> int:
        """Steps that it is known to have trained."""
        return max(self.logged, self.saved)


def state_of(folder: Path, owner: Owner | None, alive: bool, progress: Progress) -> tuple[State, str]:
    """Return the state of a run and what it follows from, in words.

    A run that stops at a signal saves first; one that ends with an error does not. A process that was killed does not
    mark its record in ``.owner`` as ended.

    Args:
        folder: of the run.
        owner: its last one; None without a readable record.
        alive: that one is.
        progress: of the run.
    """
    if owner is not None and alive:
        return "running", str(owner)
    if progress.wanted is not None and progress.step >= progress.wanted and (owner is None or owner.ended):
        return "finished", "" if progress.saved >= progress.wanted else "no checkpoint of the last step"
    if progress.wanted is not None and progress.saved >= progress.wanted:
        return "finished", ""
    if owner is None:
        return "unknown", "no readable record in .owner: of an earlier version, or copied without hidden files"
    refused = _last_dump(folder / "dumps")
    if refused > progress.step:
        return "failed", f"loss or gradient of step {refused} not finite: its batches are in dumps/"
    if not owner.ended:
        if _is_newer(folder / "hang.txt", folder / METRICS):
            return "failed", "nothing moved for too long: the stacks of all ranks are in hang.txt"
        return "interrupted", f"killed, or its machine went down, after step {progress.step}"
    return _ended(progress)


def _ended(progress: Progress) -> tuple[State, str]:
    """Return the state of a run that gave its folder back before its last step."""
    if progress.wanted is None:
        return "unknown", "without its options it is not known how many steps it was to train"
    if progress.saved and progress.saved >= progress.logged:
        return "interrupted", f"stopped and saved after step {progress.saved}"
    return "failed", f"ended by an error after step {progress.step}; newest checkpoint: {progress.saved or 'none'}"


def _last_dump(folder: Path) -> int:
    """Return the last step whose batches were written down, 0 without one."""
    numbers = (path.name.removeprefix("step_") for path in folder.glob("step_*"))
    return max((int(number) for number in numbers if len(number) == 9 and number.isdecimal()), default=0)


def _is_newer(first: Path, second: Path) -> bool:
    if not first.is_file():
        return False
    return not second.is_file() or first.stat().st_mtime >= second.stat().st_mtime
