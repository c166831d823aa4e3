"""How a run begins in its folder: from which checkpoint, with which options changed, what is moved aside."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from cosmos_lidar.errors import UserError
from cosmos_lidar.log import logger
from cosmos_lidar.parallel.ranks import is_first
from cosmos_lidar.training.checkpoint.line import newest_of_line
from cosmos_lidar.training.checkpoint.manifest import new_run, put_back, run_of, seen_steps, verify
from cosmos_lidar.training.config import AnyConfig
from cosmos_lidar.training.owner import RunOwner
from cosmos_lidar.training.resume_options import (
    Change,
    find_changes,
    refuse_changes,
    restarts_data,
    worth_telling,
)
from cosmos_lidar.training.run_folder import (
    CHECKPOINTS,
    CONFIG,
    UNTIL,
    move_branch_aside,
    move_run_aside,
    refuse_published,
)


@dataclass(frozen=True)
class Start:
    """Where a run begins.

    Attributes:
        checkpoint: to resume from; None for a start from scratch.
        step: steps that it has seen.
        line: name of the line of checkpoints that this run writes.
        changes: options that differ from those of the checkpoint; all of them take effect.
    """

    checkpoint: Path | None
    step: int
    line: str
    changes: tuple[Change, ...] = ()

    @property
    def restart_data(self) -> bool:
        """The data begins a new shuffle."""
        return restarts_data(list(self.changes))


def find_resume(choice: str, folder: Path) -> Path | None:
    """Return the checkpoint to resume from: of ``trainer.resume`` = ``auto``, ``none`` or a folder.

    Every file of it is read and compared with its checksum. ``auto`` skips damaged ones with a warning. Nothing is
    changed on disk.

    Args:
        choice: the option.
        folder: the ``checkpoints`` folder of the run.

    Raises:
        UserError: the named checkpoint does not exist.
        DataError: the named checkpoint is damaged, or all that ``auto`` found are.
    """
    if choice == "none":
        return None
    if choice == "auto":
        return newest_of_line(folder, logger.warning if is_first() else logger.debug)
    path = Path(choice)
    if path.suffix == ".pt" and path.is_file():
        raise UserError(f"trainer.resume={choice}: a file of weights; model.checkpoint={choice} starts from it")
    if not path.is_dir():
        hint = f"auto resumes from the newest of {folder}, none starts from scratch"
        raise UserError(f"trainer.resume={choice}: no such checkpoint folder ({hint})")
    verify(path)
    return path


def begin(run: AnyConfig, folder: Path, owner: RunOwner | None = None) -> Start:
    """Find where a run begins, and make its folder ready; the owner of the folder calls this on rank 0.

    Nothing is moved where the checkpoint has all steps already.

    Args:
        run: the configuration.
        folder: of the run.
        owner: of the folder; a job that its scheduler started again resumes its own checkpoints.

    Raises:
        UserError: no such checkpoint, none that is good, a changed option that cannot take effect, or a folder of
            another trainer.
    """
    refuse_published(run, folder)
    checkpoints = folder / CHECKPOINTS
    put_back(checkpoints)
    path = _of_this_job(run.trainer.resume, checkpoints, owner) or find_resume(run.trainer.resume, checkpoints)
    if path is None:
        move_run_aside(run, folder)
        return Start(None, 0, new_run())
    step = seen_steps(path)
    if step >= run.trainer.max_steps:
        return Start(path, step, "")
    changes = check_options(run, path)
    if path.resolve().parent == checkpoints.resolve():
        move_branch_aside(folder, step)
        line = run_of(path) or new_run()
    else:
        move_run_aside(run, folder)
        line = new_run()
    _tell(changes, path, folder, step)
    return Start(path, step, line, tuple(changes))


def check_options(run: AnyConfig, checkpoint: Path) -> list[Change]:
    """Return the options that differ from those of a checkpoint.

    Raises:
        UserError: some of them cannot take effect.
    """
    if not (checkpoint / CONFIG).is_file():  # the manifest is whole, so it never had one
        return []
    changes = find_changes(run, checkpoint / CONFIG)
    refuse_changes(run, changes, checkpoint)
    return changes


def _of_this_job(choice: str, checkpoints: Path, owner: RunOwner | None) -> Path | None:
    """Return the newest checkpoint where an earlier attempt of the same job began here, whatever ``choice`` is.

    The command line of a requeued job still has ``trainer.resume=none``, or names where the first attempt began.
    """
    if choice == "auto" or owner is None or not owner.restarted:
        return None
    found = newest_of_line(checkpoints, logger.warning)
    if found is not None:
        logger.info("%s was started again: it resumes from its own %s", owner.owner.job, found)
    return found


def _tell(changes: list[Change], path: Path, folder: Path, step: int) -> None:
    """Name the changed options, and keep the former ones as a file."""
    told = worth_telling(changes)
    if not told:
        return
    for change in told:
        logger.warning("changed from step %d on: %s", step + 1, change)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path / CONFIG, folder / UNTIL.format(step))
