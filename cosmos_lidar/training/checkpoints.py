"""Full checkpoints: written whole or not at all, and the pointer to the newest only after it is whole.

``checkpoints/iter_000002000.ckpt`` holds everything that a run needs to go on; ``latest_checkpoint.txt`` names the
newest.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import CheckpointIO

from cosmos_lidar.errors import UserError
from cosmos_lidar.log import logger
from cosmos_lidar.training.files import read_tensors, write_whole

LATEST = "latest_checkpoint.txt"
_NAME = re.compile(r"iter_(\d{9})\.ckpt")


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return the path of the full checkpoint after ``step`` steps."""
    return folder / f"iter_{step:09d}.ckpt"


def checkpoint_step(path: Path) -> int:
    """Return the step in the name of a full checkpoint, -1 for other names."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def find_resume(choice: str, folder: Path) -> Path | None:
    """Return the checkpoint to go on from: of ``trainer.resume`` = ``auto``, ``none`` or a file.

    Raises:
        UserError: the named file does not exist.
    """
    if choice == "none":
        return None
    if choice != "auto":
        if not Path(choice).is_file():
            hint = f"auto goes on from the newest of {folder}, none starts anew"
            raise UserError(f"trainer.resume={choice}: no such file ({hint})")
        return Path(choice)
    try:
        newest = folder / (folder / LATEST).read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return newest if newest.is_file() else None


class WholeFiles(CheckpointIO):
    """How Lightning reads and writes checkpoint files: atomically, and without unpickling."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write ``checkpoint`` to ``path``."""
        write_whole(Path(path), lambda partial: torch.save(checkpoint, partial))

    def load_checkpoint(self, path: str | Path, map_location: Any | None = None) -> dict[str, Any]:
        """Read ``path`` on the CPU; Lightning moves the parts to where they belong."""
        return read_tensors(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete ``path``."""
        Path(path).unlink(missing_ok=True)


class SaveCheckpoints(Callback):
    """Save every so many steps, at the end, and when asked to; then move the pointer, then delete what is too old.

    Args:
        folder: the run's ``checkpoints`` folder.
        every: steps between checkpoints; 0 for none on the way.
        keep_last: how many full checkpoints stay; 0 for all.
        after_save: called on rank 0 with (model, step) once a checkpoint is whole, to write exports.
    """

    def __init__(
        self, folder: Path, every: int, keep_last: int, after_save: Callable[[LightningModule, int], None] | None
    ) -> None:
        self.folder, self.every, self.keep_last, self.after_save = folder, every, keep_last, after_save
        self._saved_step = -1

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save when it is time, or when the run is about to stop."""
        step = trainer.global_step
        if trainer.should_stop or step >= trainer.max_steps or (self.every and step % self.every == 0):
            self.save(trainer, pl_module)

    def save(self, trainer: Trainer, model: LightningModule) -> None:
        """Write the checkpoint of the present step, once."""
        step = trainer.global_step
        if step == self._saved_step:
            return
        self._saved_step = step
        path = checkpoint_path(self.folder, step)
        trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            write_whole(self.folder / LATEST, lambda partial: partial.write_text(path.name + "\n", encoding="utf-8"))
            logger.info("saved %s", path)
            self._delete_old()
            if self.after_save is not None:
                self.after_save(model, step)
        trainer.strategy.barrier("exports written")

    def _delete_old(self) -> None:
        full = sorted(self.folder.glob("iter_*.ckpt"), key=checkpoint_step)
        for path in full[: -self.keep_last] if self.keep_last else []:
            path.unlink(missing_ok=True)
