"""From a configuration to a trained tokenizer: everything is built here, in one order."""

from __future__ import annotations

import copy
import importlib.util
import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.log import logger
from cosmos_lidar.training.checkpoints import SaveCheckpoints, WholeFiles, checkpoint_step, find_resume
from cosmos_lidar.training.config import LogConfig, TokenizerRun, check
from cosmos_lidar.training.ema import Ema
from cosmos_lidar.training.exact_resume import ExactResume, Steps
from cosmos_lidar.training.export import export_tokenizer
from cosmos_lidar.training.lidar_tokenizer import LidarTokenizerModel
from cosmos_lidar.training.overrides import save_config
from cosmos_lidar.training.run_log import RunLog
from cosmos_lidar.training.stop_signals import StopSignals
from cosmos_lidar.training.tokenizer_data import TokenizerData, make_data
from cosmos_lidar.training.validation import Validate


@dataclass(frozen=True)
class RunResult:
    """What a run left behind.

    Attributes:
        folder: ROOT/PROJECT/GROUP/NAME.
        step: optimizer steps that its newest checkpoint has seen.
        signal: number of the signal that ended the run early, 0 if it ran to the end.
    """

    folder: Path
    step: int
    signal: int


def run_folder(log: LogConfig) -> Path:
    """Return ROOT/PROJECT/GROUP/NAME, where ROOT is ``log.root``, else ``$OUTPUT_ROOT``, else ``checkpoints``."""
    root = log.root or os.environ.get("OUTPUT_ROOT") or "checkpoints"
    return Path(root) / log.project / log.group / log.name


def train_tokenizer(run: TokenizerRun) -> RunResult:
    """Train, or go on training, as ``run`` says; every process of a ``torchrun`` calls this.

    Raises:
        UserError: an impossible option, unusable data or weights, or a loss that is not finite.
    """
    check(run)
    _check_loggers(run.log)
    folder = run_folder(run.log)
    resume = find_resume(run.trainer.resume, folder / "checkpoints")
    if resume is not None and checkpoint_step(resume) >= run.trainer.max_steps:
        logger.info("%s has already seen %d steps: nothing to do", resume, run.trainer.max_steps)
        return RunResult(folder, checkpoint_step(resume), 0)
    _quieten()
    seed_everything(run.trainer.seed, workers=True, verbose=False)
    data = make_data(run, folder)
    network = _make_network(run)
    if _rank() == 0:
        save_config(run, folder / "config.yaml")
        save_config(run, folder / "checkpoints" / "config.yaml")
    model = LidarTokenizerModel(run, network, _make_perceptual(run), data.picture)
    stop = StopSignals()
    trainer = _make_trainer(run, _make_callbacks(run, data, folder, stop))
    _start_loggers(trainer, run, folder / "logs" / f"from_{max(checkpoint_step(resume), 0) if resume else 0:09d}")
    _announce(run, network, resume, folder)
    trainer.fit(model, train_dataloaders=Steps(data.train, run.trainer.max_steps), ckpt_path=resume)
    return RunResult(folder, trainer.global_step, stop.received)


def _check_loggers(log: LogConfig) -> None:
    for wanted, module in ((log.wandb, "wandb"), (log.mlflow, "mlflow")):
        if wanted and importlib.util.find_spec(module) is None:
            hint = f"pip install {module}, or log.{module}=false"
            raise UserError(f"log.{module}=true and {module} is not installed: {hint}")


def _make_network(run: TokenizerRun) -> nn.Module:
    from cosmos_lidar.models.tokenizer import build_tokenizer, load_tokenizer

    config = run.model
    if config.checkpoint:
        return load_tokenizer(config.checkpoint)
    shape = ("channels", "channels_mult", "num_res_blocks", "z_channels", "resolution")
    overrides = {name: getattr(config, name) for name in shape if getattr(config, name) is not None}
    return build_tokenizer(config.name, **overrides)


def _make_perceptual(run: TokenizerRun) -> nn.Module | None:
    from cosmos_lidar.losses.perceptual import load_perceptual

    loss = run.model.loss
    return load_perceptual(loss.perceptual_weights) if loss.perceptual > 0 else None


def _make_callbacks(run: TokenizerRun, data: TokenizerData, folder: Path, stop: StopSignals) -> list[Any]:
    """Return the callbacks in the order of their work after a step: average, note, agree to stop, validate, save."""
    every = run.trainer
    ema = Ema(run.model.ema.decay) if run.model.ema.enabled else None
    log = RunLog(folder / "metrics.csv", every.log_every, run.data.batch_size)
    validate = Validate(data.val, every.val_every, every.val_at_start, log, ema)

    def export(model: LightningModule, step: int) -> None:
        averaged = None
        if ema is not None:
            with ema.swapped_in(model.network):
                averaged = copy.deepcopy(model.network)
        export_tokenizer(model.network, averaged, folder / "checkpoints", step)

    save = SaveCheckpoints(folder / "checkpoints", every.save_every, every.keep_last, export if every.export else None)
    return ([ema] if ema else []) + [stop, log, validate, save, ExactResume(data.train)]


def _make_trainer(run: TokenizerRun, callbacks: list[Any]) -> Trainer:
    config = run.trainer
    world, local = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    accelerator = config.accelerator
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("trainer.accelerator=gpu and this machine has no usable GPU: trainer.accelerator=cpu")
    on_gpu = accelerator == "gpu" or (accelerator == "auto" and torch.cuda.is_available())
    strategy = DDPStrategy(process_group_backend="nccl" if on_gpu else "gloo") if world > 1 else "auto"
    return Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=local,
        num_nodes=max(world // local, 1),
        strategy=strategy,
        precision={"fp32": "32-true", "bf16": "bf16-mixed"}[config.precision],
        max_steps=config.max_steps,
        deterministic=config.deterministic,
        callbacks=callbacks,
        plugins=[WholeFiles()],
        logger=False,
        limit_val_batches=0,  # the Validate callback validates, at the steps that we choose
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _start_loggers(trainer: Trainer, run: TokenizerRun, folder: Path) -> None:
    """Let NeMo's experiment manager make the loggers, in a folder of their own: it moves away what it finds in it."""
    from nemo.utils.exp_manager import exp_manager

    log = run.log
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
        settings["wandb_logger_kwargs"] = {"name": log.name, "project": log.project, "group": log.group}
    if log.mlflow:
        uri = log.mlflow_uri or (folder.parent / "mlruns").resolve().as_uri()
        settings["mlflow_logger_kwargs"] = {"experiment_name": log.project, "run_name": log.name, "tracking_uri": uri}
    exp_manager(trainer, settings)


def _announce(run: TokenizerRun, network: nn.Module, resume: Path | None, folder: Path) -> None:
    if _rank() == 0:
        millions = sum(parameter.numel() for parameter in network.parameters()) / 1e6
        begin = f"going on from {resume}" if resume else f"starting from {run.model.checkpoint or 'scratch'}"
        logger.info("%s with %.3f M parameters, %s; results in %s", run.model.name, millions, begin, folder)


def _rank() -> int:
    return int(os.environ.get("RANK", 0))


def _quieten() -> None:
    """Keep NeMo's and Lightning's remarks off the terminal unless they are warnings."""
    from nemo.utils import logging as nemo_logging

    nemo_logging.setLevel(logging.WARNING)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning.pytorch")
    warnings.filterwarnings("ignore", message=".*pin_memory.*")  # Energon asks for it on machines without a GPU, too
