"""One step of a run, once more: from the newest checkpoint before it, through the same batches, to the same numbers."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, Trainer

from cosmos_lidar.errors import UserError
from cosmos_lidar.log import logger
from cosmos_lidar.parallel.mesh import process_count, process_rank
from cosmos_lidar.training.batches import clips_of
from cosmos_lidar.training.checkpoint.callback import checkpoint_mesh
from cosmos_lidar.training.checkpoint.manifest import newest_good
from cosmos_lidar.training.engine import Session
from cosmos_lidar.training.family import Family
from cosmos_lidar.training.guards.nonfinite import dump_batches
from cosmos_lidar.training.measure.step_clock import PARTS
from cosmos_lidar.training.measure.stragglers import COLUMNS
from cosmos_lidar.training.run_folder import options_at
from cosmos_lidar.training.run_log import read_metrics

_NOT_COMPARED = ("lr", "tflops", "mfu", "memory_gb", *PARTS, *COLUMNS)  # and rates, which end in /s


@dataclass(frozen=True)
class ReplayResult:
    """What came out.

    Attributes:
        lines: for people, from rank 0.
        same: everything logged of that step came out again, digit for digit; true where nothing was logged.
    """

    lines: list[str]
    same: bool


class _NoteStep(Callback):
    """Keep the batch and the values of one step."""

    def __init__(self, step: int, folder: Path) -> None:
        self.step, self.folder = step, folder
        self.path: Path | None = None
        self.clips: list[str] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Write the batches of the step to disk."""
        if trainer.global_step == self.step:
            batches = batch if isinstance(batch, list) else [batch]
            self.clips = clips_of(batches)
            notes = {name: float(value) for name, value in pl_module.step_values.items()} | {"clips": self.clips}
            self.path = dump_batches(self.folder, self.step, trainer.global_rank, batches, notes)


def replay(family: Family[Any], run: Any, folder: Path, step: int, dumps: Path) -> ReplayResult:
    """Run step ``step`` (from 1) of the run in ``folder`` again; nothing in it is changed but ``dumps``.

    Args:
        family: of the run.
        run: its present configuration; the step is run with the options of its own time.
        folder: of the run.
        step: from 1.
        dumps: folder for the batch of the step.

    Raises:
        UserError: the step does not exist, this is another number of ranks than the run had, or the step ends as it
            ended then: with a loss that is not finite.
    """
    if not 1 <= step <= run.trainer.max_steps:
        raise UserError(f"--step {step}: expected 1 to {run.trainer.max_steps}, trainer.max_steps of {folder}")
    run = family.load(options_at(folder, step))
    family.check(run)
    start = newest_good(folder / "checkpoints", logger.warning, below=step)
    if start is not None:
        _check_processes(start, folder, step)
    note = _NoteStep(step, dumps)
    with tempfile.TemporaryDirectory(prefix="replay-") as scratch:
        again = _short(run, folder, step, start, Path(scratch))
        with Session(again) as session:
            result = session.fit(family.make_job(again, folder, session.share), [note])
        rows = read_metrics(result.folder / "metrics.csv") if process_rank() == 0 else []
    if process_rank() != 0:
        return ReplayResult([], True)
    found = next(row for row in rows if int(row["step"]) == step and row["loss"])
    logged = [row for row in read_metrics(folder / "metrics.csv") if int(row["step"]) == step and row.get("loss")]
    return _compare(found, logged[0] if logged else None, note)


def _short(run: Any, folder: Path, step: int, start: Path | None, scratch: Path) -> Any:
    """Return the configuration that runs up to ``step`` and writes into a scratch folder."""
    few = {"max_steps": step, "log_every": 1, "val_every": 0, "val_at_start": False, "val_batches": 1}
    trainer = replace(run.trainer, **few, save_every=0, export=False, resume=str(start) if start else "none")
    log = replace(run.log, root=str(scratch), tensorboard=False, wandb=False, mlflow=False)
    return replace(run, trainer=trainer, log=log)


def _check_processes(start: Path, folder: Path, step: int) -> None:
    sizes, _ = checkpoint_mesh(start)
    if sizes.world != process_count():
        command = f"torchrun --nproc_per_node={sizes.world} -m cosmos_lidar.cli replay {folder} --step {step}"
        raise UserError(f"expected {sizes.world} processes, as the run had; started with {process_count()}: {command}")


def _compare(found: dict[str, str], logged: dict[str, str] | None, note: _NoteStep) -> ReplayResult:
    names = [name for name, value in found.items() if value and _compared(name)]
    lines = [f"step {found['step']}: clips {', '.join(note.clips)}; the batch is in {note.path}"]
    differ = [name for name in names if logged is not None and logged.get(name) != found[name]]
    for name in names[1:]:
        before = "" if logged is None else f" (logged {logged.get(name)})" if name in differ else " (as logged)"
        lines.append(f"  {name} {found[name]}{before}")
    if logged is None:
        lines.append("  nothing was logged of this step (trainer.log_every)")
    return ReplayResult(lines, not differ)


def _compared(name: str) -> bool:
    return not name.startswith("val/") and not name.endswith("/s") and name not in _NOT_COMPARED
