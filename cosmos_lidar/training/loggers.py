"""Loggers of a training run: Tensorboard, Weights & Biases and MLflow, and how much NeMo and Lightning log."""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cosmos_lidar.errors import UserError
from cosmos_lidar.training.config import LogConfig

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


def check_loggers(log: LogConfig) -> None:
    """Refuse loggers that are not installed.

    Raises:
        UserError: the message names the option and the package.
    """
    for wanted, module in ((log.wandb, "wandb"), (log.mlflow, "mlflow")):
        if wanted and importlib.util.find_spec(module) is None:
            hint = f"pip install {module}, or log.{module}=false"
            raise UserError(f"log.{module}=true and {module} is not installed: {hint}")


def start_loggers(trainer: Trainer, log: LogConfig, folder: Path) -> None:
    """Let NeMo's ``exp_manager`` give the trainer the loggers that are switched on.

    Args:
        trainer: without loggers.
        log: which ones, and under which names.
        folder: of their own, as ``exp_manager`` moves away what it finds in it.
    """
    if not (log.tensorboard or log.wandb or log.mlflow):
        return
    from nemo.utils.exp_manager import exp_manager  # imports pandas and transformers: a second of CPU

    settings: dict[str, Any] = {
        "explicit_log_dir": str(folder),
        "create_tensorboard_logger": log.tensorboard,
        "create_wandb_logger": log.wandb,
        "create_mlflow_logger": log.mlflow,
        "create_checkpoint_callback": False,
        "log_step_timing": False,
        "log_tflops_per_sec_per_gpu": False,
        "disable_validation_on_resume": False,
        "seconds_to_sleep": 0,
    }
    if log.wandb:
        project = os.environ.get("WANDB_PROJECT_NAME") or log.project
        settings["wandb_logger_kwargs"] = {"name": log.name, "project": project, "group": log.group}
        if os.environ.get("WANDB_RUN_ID"):  # go on with that run's curves
            settings["wandb_logger_kwargs"] |= {"id": os.environ["WANDB_RUN_ID"], "resume": "allow"}
    if log.mlflow:
        uri = log.mlflow_uri or (folder.parent / "mlruns").resolve().as_uri()
        settings["mlflow_logger_kwargs"] = {"experiment_name": log.project, "run_name": log.name, "tracking_uri": uri}
    exp_manager(trainer, settings)


def quieten() -> None:
    """Keep NeMo's and Lightning's remarks off the terminal unless they are warnings."""
    from nemo.utils import logging as nemo_logging

    nemo_logging.setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning.pytorch")
    warnings.filterwarnings("ignore", message=".*torch.distributed is disabled.*")  # one process has no group
    warnings.filterwarnings("ignore", message=".*srun.*")
    warnings.filterwarnings("ignore", message=".*pin_memory.*")  # Energon asks for it on machines without a GPU, too
