"""When checkpoints are written, what is in them, and how a run resumes from one.

The files themselves are the work of :mod:`cosmos_lidar.training.checkpoint.store`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import write_may_fail
from cosmos_lidar.log import logger, warn_once_a_minute
from cosmos_lidar.parallel.clip import total_norm
from cosmos_lidar.parallel.mesh import MeshSizes
from cosmos_lidar.parallel.ranks import gather_objects, is_first
from cosmos_lidar.training.checkpoint.data_place import DataSource, resume_data
from cosmos_lidar.training.checkpoint.manifest import newest_good
from cosmos_lidar.training.checkpoint.reading import load_state, load_tensors, stored_names
from cosmos_lidar.training.checkpoint.retry import LAST_PAUSE_S, LAST_TRIES, SaveRetry
from cosmos_lidar.training.checkpoint.state_tree import from_plain, random_state, set_random_state, to_plain
from cosmos_lidar.training.checkpoint.store import CheckpointStore, SaveOutcome
from cosmos_lidar.training.ema import Ema
from cosmos_lidar.training.run_log import RunLog

if TYPE_CHECKING:
    from cosmos_lidar.training.model import TrainedModel

_OPTIMIZER = ("exp_avg", "exp_avg_sq", "step")


class Checkpoints(Callback):
    """Save every so many steps, at the end and when asked to, and resume a run.

    Args:
        store: writes the files.
        every: steps between checkpoints; 0 for none on the way.
        resume: checkpoint to resume from; None for a fresh start.
        data: of this rank.
        config: the options to store, as YAML.
        ema: the average of the weights, if there is one.
        run_log: its rows after a rollback's step are dropped; its last validation is stored with the checkpoint.
        after_save: called on every rank with (model, step), to write exports.
    """

    def __init__(
        self,
        store: CheckpointStore,
        every: int,
        resume: Path | None,
        data: DataSource,
        config: str,
        ema: Ema | None,
        run_log: RunLog,
        after_save: Callable[[TrainedModel, int], None] | None,
    ) -> None:
        self.store, self.every, self.resume, self.data, self.config = store, every, resume, data, config
        self.ema, self.run_log, self.after_save = ema, run_log, after_save
        self._saved_step = -1
        self._retry = SaveRetry()
        self._counted = (0, 0)  # (step, samples) from which samples are counted on
        self._frozen_norm: float | None = None
        self._random: object = None

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        """Take up the run where the checkpoint left it."""
        if self.resume is None:
            return
        state = load_state(self.resume)
        self._load_training(trainer, pl_module, self.resume, state)
        pl_module.spikes.load_state_dict(from_plain(state["spikes"]))
        self._random = resume_data(state, self.data, trainer.global_rank)
        self._saved_step = trainer.global_step
        self.store.good.add(self.resume)  # verified when it was chosen

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Set the random numbers back, last of all: setting up and starting the loader draw some."""
        if self._random is not None:
            set_random_state(self._random)
            self._random = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save when it is time, or when the run is about to stop, or once more when the last save failed.

        Raises:
            DataError: the checkpoint that the run ends with could not be written, nor in 60 more tries.
        """
        with pl_module.clock.long_work():
            if pl_module.roll_back:
                self.roll_back(trainer, pl_module)
            self._save_if_due(trainer, pl_module)
        pl_module.clock.lap("save_s")

    def _save_if_due(self, trainer: Trainer, pl_module: Any) -> None:
        step = trainer.global_step
        last = trainer.should_stop or step >= trainer.max_steps
        again = pl_module.flags.max_over_ranks("save_again")
        if last or again or (self.every and step % self.every == 0):
            self.save(trainer, pl_module)
        self._report(self.store.wait() if last else self.store.poll())
        if last and self._retry.failing:
            self._save_at_last(trainer, pl_module)
        pl_module.flags.own["save_again"] = float(self._retry.due)

    def on_exception(self, trainer: Trainer, pl_module: Any, exception: BaseException) -> None:
        """Let the save under way come to its end, before the ranks part."""
        self.store.wait()

    def save(self, trainer: Trainer, model: TrainedModel) -> None:
        """Start writing the checkpoint of this step, while training continues."""
        step = trainer.global_step
        if step == self._saved_step:
            return
        self._saved_step = step
        self._report(self.store.wait())
        self._begin(trainer, model)
        if self.after_save is not None:
            self._export(model, step)

    def _begin(self, trainer: Trainer, model: TrainedModel) -> None:
        step, tensors = trainer.global_step, self._tensors(trainer, model)
        texts = {"config.yaml": self.config}
        self.store.save(step, tensors, self._state(trainer, model), texts, self.run_log.last_validation)
        self._retry.begun()

    def _export(self, model: TrainedModel, step: int) -> None:
        """Write the exports of a step, which `cosmos-lidar export` can make again of its checkpoint."""
        assert self.after_save is not None
        then = "`cosmos-lidar export` makes it of a checkpoint; the run goes on"
        with write_may_fail(f"the export beside {self.store.folder}", then):
            self.after_save(model, step)

    def _save_at_last(self, trainer: Trainer, model: TrainedModel) -> None:
        """Try again and again to write the checkpoint that the run ends with, on all ranks alike."""
        for _ in range(LAST_TRIES):
            time.sleep(LAST_PAUSE_S)
            model.clock.lap("save_s")  # the run is alive
            self._begin(trainer, model)
            self._report(self.store.wait())
            if not self._retry.failing:
                if self.after_save is not None:
                    self._export(model, trainer.global_step)
                return
        minutes = LAST_TRIES * LAST_PAUSE_S / 60
        raise DataError(
            f"the checkpoint of step {trainer.global_step} could not be written in {minutes:.0f} minutes; what was "
            "trained since the one before is lost",
            file=self.store.folder, wanted="a disk with room that this run may write to",
        )  # fmt: skip

    def roll_back(self, trainer: Trainer, model: TrainedModel) -> None:
        """Put weights, optimizer and step back to the last checkpoint; the data goes on after the spike.

        The checkpoint is written again with that place in the data: a resumed run does not meet the spike again.

        Raises:
            UserError: there is no checkpoint yet, or the run went back too often.
        """
        model.roll_back = False
        model.spikes.rollbacks += 1
        if model.spikes.rollbacks > model.run.guard.most_rollbacks:
            most = model.run.guard.most_rollbacks
            raise UserError(f"the loss spiked again after {most} rollbacks (guard.most_rollbacks): lower optim.lr")
        self._report(self.store.wait())
        path = newest_good(self.store.folder, logger.warning if is_first() else logger.debug)
        if path is None:
            raise UserError("guard.spike=rollback and no checkpoint yet: lower trainer.save_every, or guard.spike=skip")
        self._load_training(trainer, model, path, load_state(path), in_mid_run=True)
        self._saved_step = trainer.global_step
        self._begin(trainer, model)
        logger.warning("rolled back to step %d; the samples up to the jump are left out", trainer.global_step)
        if is_first():
            self.run_log.drop_after(trainer.global_step)

    def _load_training(
        self, trainer: Trainer, model: TrainedModel, path: Path, state: dict[str, Any], in_mid_run: bool = False
    ) -> None:
        self._check_frozen(model, path, state)
        self._load_tensors(trainer, model, path)
        self._counted = (int(state["step"]), int(state["samples"]))
        loop = from_plain(state["loop"])
        if in_mid_run:  # the count of batches continues: only the optimizer steps go back
            progress = trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress
            progress.load_state_dict(loop["epoch_loop.automatic_optimization.optim_progress"])
        else:
            trainer.fit_loop.load_state_dict(loop)
        resume_schedule(trainer.lr_scheduler_configs[0].scheduler, from_plain(state["scheduler"]))

    def _load_tensors(self, trainer: Trainer, model: TrainedModel, path: Path) -> None:
        """Fill weights, optimizer and EMA; what an option has added since then starts now."""
        tensors = self._tensors(trainer, model)
        stored = stored_names(path, "")
        further = model.further_tensors().keys()
        fresh = set(further) if further and stored.isdisjoint(further) else set()
        new_ema = self.ema is not None and not any(name.startswith("ema.") for name in stored)
        if new_ema:
            fresh |= {name for name in tensors if name.startswith("ema.")}
        load_tensors(path, {name: tensor for name, tensor in tensors.items() if name not in fresh})
        if new_ema and self.ema is not None:
            self.ema.start(model.network)
            logger.warning("model.ema.enabled: %s holds no EMA; it starts from the weights of that step", path)
        if fresh & set(further):
            logger.warning("%s does not hold %s, …: it starts from scratch", path, min(further))

    def _tensors(self, trainer: Trainer, model: TrainedModel) -> dict[str, Tensor]:
        trained_only = model.run.trainer.checkpoint_trained_only
        own = training_tensors(model.network, trainer.optimizers[0], self.ema, trained_only)
        return own | model.further_tensors()

    def _state(self, trainer: Trainer, model: TrainedModel) -> dict[str, Any]:
        own = {
            "loader": to_plain(self.data.loader.save_state_rank()),
            "random": random_state(with_cuda=model.device.type == "cuda"),
        }
        before, samples = self._counted
        return {
            "step": trainer.global_step,
            "samples": samples + (trainer.global_step - before) * self.run_log.size.samples,
            "loop": to_plain(trainer.fit_loop.state_dict()),
            "scheduler": to_plain(trainer.lr_scheduler_configs[0].scheduler.state_dict()),
            "lr": [group["lr"] for group in trainer.optimizers[0].param_groups],
            "spikes": to_plain(model.spikes.state_dict()),
            "mesh": asdict(self.data.sizes),
            "workers": self.data.workers,
            "ranks": gather_objects(own),
        } | self._frozen(model)

    def _frozen(self, model: TrainedModel) -> dict[str, float]:
        """What a checkpoint without the frozen weights holds of them, to recognize them by."""
        if not model.run.trainer.checkpoint_trained_only:
            return {}
        if self._frozen_norm is None:
            self._frozen_norm = frozen_norm(model.network)
        return {"frozen_norm": self._frozen_norm}

    def _check_frozen(self, model: TrainedModel, path: Path, state: dict[str, Any]) -> None:
        wanted, found = state.get("frozen_norm"), self._frozen(model).get("frozen_norm")
        if wanted is None or found is None or math.isclose(wanted, found, rel_tol=1e-5):
            return
        raise DataError(
            f"its frozen weights have norm {wanted:.6g}, those of this run {found:.6g}", file=path,
            key="model.checkpoint", wanted="the weights that the run started from",
        )  # fmt: skip

    def _report(self, outcome: SaveOutcome | None) -> None:
        if outcome is None:
            return
        if outcome.error is None:
            self._retry.succeeded()
            logger.info("saved %s", outcome.path) if is_first() else None
            return
        self._retry.failed()
        if is_first():
            text = "the checkpoint of step %d could not be written: %s; it is tried again"
            warn_once_a_minute(str(self.store.folder), text, outcome.step, outcome.error)


def training_tensors(
    network: nn.Module, optimizer: torch.optim.Optimizer, ema: Ema | None, trained_only: bool = False
) -> dict[str, Tensor]:
    """Return all tensors that training changes, by name: ``model.…``, ``optimizer.…`` and ``ema.…``.

    Those of the optimizer are made where the first step has not made them yet.

    Args:
        network: in training.
        optimizer: of its parameters.
        ema: of them, or None.
        trained_only: leave out what is frozen.
    """
    state = trained_state(network) if trained_only else network.state_dict()
    tensors = {f"model.{name}": value for name, value in state.items()}
    tensors |= optimizer_tensors(network, optimizer, "optimizer.")
    if ema is not None:
        tensors |= {f"ema.{name}": value for name, value in ema.average.items()}
    return tensors


def trained_state(network: nn.Module) -> dict[str, Tensor]:
    """Return the trained parameters of a network, and the buffers of modules that have any, by name."""
    names = set()
    for prefix, module in network.named_modules():
        own = {name: p for name, p in module.named_parameters(recurse=False) if p.requires_grad}
        if own:
            buffers = dict(module.named_buffers(recurse=False))
            names |= {f"{prefix}.{name}".lstrip(".") for name in (*own, *buffers)}
    return {name: tensor for name, tensor in network.state_dict().items() if name in names}


def frozen_norm(network: nn.Module) -> float:
    """Return the L2 norm of all frozen parameters; every rank calls this."""
    return float(total_norm([p.detach() for p in network.parameters() if not p.requires_grad]))


def optimizer_tensors(network: nn.Module, optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """Return the moments and step counts of every trained parameter, made where there are none yet."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            state = _adam_state(optimizer, parameter)
            tensors |= {f"{prefix}{name}.{key}": state[key] for key in _OPTIMIZER}
    return tensors


def resume_schedule(schedule: Any, state: dict[str, Any]) -> None:
    """Set a schedule of learning rates to where it was; the rates are those of the present options.

    Raises:
        UserError: a schedule that is no function of the step alone, and a learning rate that changed.
    """
    if not isinstance(schedule, LambdaLR):
        wanted = schedule.base_lrs
        schedule.load_state_dict(state)
        if schedule.base_lrs != wanted:
            raise UserError(f"optim.lr: {schedule.base_lrs} -> {wanted}: {type(schedule).__name__} cannot change it")
        return
    schedule.last_epoch, schedule._step_count = int(state["last_epoch"]), int(state["_step_count"])
    rates = [
        base * factor(schedule.last_epoch) for base, factor in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)
    ]
    for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    schedule._last_lr = rates


def _adam_state(optimizer: torch.optim.Optimizer, parameter: Tensor) -> dict[str, Tensor]:
    state = optimizer.state[parameter]
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
        state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
    return state


def checkpoint_mesh(path: Path) -> tuple[MeshSizes, int]:
    """Return the mesh that wrote a checkpoint, and its number of workers.

    Raises:
        DataError: it holds none.
    """
    state = load_state(path)
    if "mesh" not in state:
        raise DataError("no training state in it", file=path, wanted="a full checkpoint of a run")
    return MeshSizes(**state["mesh"]), int(state["workers"])
