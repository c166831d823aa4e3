"""Loggers of a training run: Tensorboard, Weights & Biases and MLflow, and how much NeMo and Lightning log."""

from __future__ import annotations

import json
import logging
import os
import uuid
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_lidar.errors import UserError
from cosmos_lidar.extras import require_installed
from cosmos_lidar.files import atomic_write
from cosmos_lidar.log import logger
from cosmos_lidar.training.config import LogConfig

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from lightning.pytorch.loggers import Logger, MLFlowLogger

TRACKERS = "trackers.json"  # the run of each tracker, which a resumed run continues
_DATABASE = ("sqlalchemy", "alembic")  # of mlflow's SQLite store, which mlflow-skinny leaves out


def check_loggers(log: LogConfig) -> None:
    """Refuse loggers that are not installed.

    Raises:
        UserError: the message names the option, the package and the extra.
    """
    if log.wandb:
        require_installed(("wandb",), "log.wandb=true")
    if log.mlflow:
        require_installed(("mlflow", *(() if _mlflow_server(log) else _DATABASE)), "log.mlflow=true")


def start_loggers(trainer: Trainer, log: LogConfig, folder: Path, resumed_at: int | None = None) -> None:
    """Give the trainer the loggers that are switched on.

    NeMo's ``exp_manager`` is not asked: on resume it moves away what it finds in the folder, so that curves break, and
    its MLflow logger cannot be made (3.0.0 passes ``run_name`` twice).

    Args:
        trainer: without loggers.
        log: which ones, and under which names.
        folder: for their files; one for all sessions of a run.
        resumed_at: step that the run continues from: trackers then continue their run of :data:`TRACKERS`.

    Raises:
        UserError: MLflow does not take ``log.mlflow_uri``.
    """
    runs = {} if resumed_at is None else _read_runs(folder)
    trackers: list[Logger] = []
    if log.tensorboard:
        trackers.append(_tensorboard(folder, resumed_at))
    if log.wandb:
        trackers.append(_wandb(log, folder, runs))
    if log.mlflow and trainer.is_global_zero:  # the others would make the same database at the same time
        trackers.append(_mlflow(log, folder, runs))
    if trackers:
        trainer.loggers = trackers
    if runs and trainer.is_global_zero:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(folder / TRACKERS) as partial:
            partial.write_text(json.dumps(runs, indent=1) + "\n", encoding="utf-8")


def close_loggers(trainer: Trainer) -> None:
    """End the run of wandb, which would take the values of the next run in this process, too."""
    if any(type(one).__name__ == "WandbLogger" for one in trainer.loggers):
        import wandb

        with suppress(Exception):  # of as many kinds as there are disks and networks; the run itself is over
            wandb.finish()


def _tensorboard(folder: Path, resumed_at: int | None) -> Logger:
    from lightning.pytorch.loggers import TensorBoardLogger

    # What was logged of later steps before the stop is hidden.
    hidden: dict[str, Any] = {} if resumed_at is None else {"purge_step": resumed_at + 1}
    return TensorBoardLogger(folder, name="tensorboard", version="", **hidden)


def _wandb(log: LogConfig, folder: Path, runs: dict[str, str]) -> Logger:
    from lightning.pytorch.loggers import WandbLogger

    folder.mkdir(parents=True, exist_ok=True)
    runs["wandb"] = os.environ.get("WANDB_RUN_ID") or runs.get("wandb") or uuid.uuid4().hex[:8]
    project = os.environ.get("WANDB_PROJECT_NAME") or log.project
    names: dict[str, Any] = {"name": log.name, "project": project, "group": log.group}
    return WandbLogger(save_dir=folder, id=runs["wandb"], resume="allow", **names)


def _mlflow(log: LogConfig, folder: Path, runs: dict[str, str]) -> Logger:
    from lightning.pytorch.loggers import MLFlowLogger

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    server = _mlflow_server(log)
    uri = server or f"sqlite:///{folder / 'mlflow.db'}"
    artifacts = None if server else (folder / "mlartifacts").as_uri()
    options: dict[str, Any] = {"experiment_name": log.project, "tracking_uri": uri, "artifact_location": artifacts}
    try:
        known = runs.get("mlflow")
        tracker = MLFlowLogger(**options, run_name=log.name, run_id=known)
        if known and _has_run(tracker):
            tracker.log_hyperparams = _nothing  # type: ignore[method-assign]  # those of a run cannot be changed
        elif known:
            logger.warning("mlflow has no run %s in %s: a new run", known, uri)
            tracker = MLFlowLogger(**options, run_name=log.name)
        runs["mlflow"] = str(tracker.run_id)
        tracker.experiment.update_run(runs["mlflow"], status="RUNNING")
    except Exception as error:  # of mlflow, its database, or the network
        text = str(error).strip().splitlines()
        raise UserError(f"log.mlflow_uri={uri}: {text[0] if text else type(error).__name__}") from error
    return tracker


def _nothing(*args: Any, **options: Any) -> None:
    """Take any arguments."""


def _has_run(tracker: MLFlowLogger) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        return bool(tracker.run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def _mlflow_server(log: LogConfig) -> str:
    return log.mlflow_uri or os.environ.get("MLFLOW_TRACKING_URI", "")


def _read_runs(folder: Path) -> dict[str, str]:
    """Return the run of each tracker; none where the file is not there or not readable."""
    try:
        found = json.loads((folder / TRACKERS).read_text(encoding="utf-8"))
        return {str(name): str(run) for name, run in found.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def quieten() -> None:
    """Keep NeMo's and Lightning's remarks off the terminal unless they are warnings."""
    from nemo.utils import logging as nemo_logging

    nemo_logging.setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning.pytorch")
    warnings.filterwarnings("ignore", message=".*torch.distributed is disabled.*")  # one process has no group
    warnings.filterwarnings("ignore", message=".*srun.*")
    warnings.filterwarnings("ignore", message=".*pin_memory.*")  # set by Energon on machines without a GPU, too
