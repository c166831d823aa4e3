"""From a configuration to a trained model, for every family: what is built, in which order."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from torch import nn

from cosmos_lidar import kernels
from cosmos_lidar.errors import UserError
from cosmos_lidar.log import logger
from cosmos_lidar.models.plan import count_parameters
from cosmos_lidar.parallel.mesh import (
    MeshSizes,
    check_plan,
    mesh_sizes,
    process_count,
    process_rank,
    start_processes,
)
from cosmos_lidar.parallel.ranks import from_first
from cosmos_lidar.training.batches import Steps
from cosmos_lidar.training.checkpoint.callback import Checkpoints, checkpoint_mesh, trained_state
from cosmos_lidar.training.checkpoint.data_place import DataSource, can_resume
from cosmos_lidar.training.checkpoint.manifest import newest_name
from cosmos_lidar.training.checkpoint.store import CheckpointStore
from cosmos_lidar.training.config import AnyConfig, accumulation
from cosmos_lidar.training.ema import Ema
from cosmos_lidar.training.guards.bad_samples import BadSamples
from cosmos_lidar.training.guards.hangs import HangWatch
from cosmos_lidar.training.guards.owner_watch import OwnerWatch
from cosmos_lidar.training.guards.stop_signals import StopSignals, interrupts_pass
from cosmos_lidar.training.loggers import check_loggers, close_loggers, quieten, start_loggers
from cosmos_lidar.training.measure.device import device_name
from cosmos_lidar.training.measure.flops import peak_tflops
from cosmos_lidar.training.measure.memory import give_memory_back
from cosmos_lidar.training.mesh_strategy import MeshStrategy, cluster_environment
from cosmos_lidar.training.model import TrainedModel
from cosmos_lidar.training.overrides import save_config, to_yaml
from cosmos_lidar.training.owner import RunOwner, this_process
from cosmos_lidar.training.resume import Start, begin
from cosmos_lidar.training.resume_options import as_done
from cosmos_lidar.training.run_folder import CHECKPOINTS, CONFIG, METRICS, group_and_name, run_folder
from cosmos_lidar.training.run_log import RunLog, StepSize
from cosmos_lidar.training.validation import Validate

ConfigT = TypeVar("ConfigT", bound=AnyConfig)


@dataclass(frozen=True)
class DataShare:
    """Which part of the data this rank reads.

    Attributes:
        rank: number of the share.
        world: number of shares.
        seed: of order and augmentation.
    """

    rank: int
    world: int
    seed: int


@dataclass(frozen=True)
class Job:
    """What a family brings to the engine.

    Attributes:
        model: with its network, not yet sharded over ranks.
        train: Energon's savable loader, endless; has ``save_state_rank`` and ``restore_state_rank``.
        val: loader of the validation, the same batches each time; None for a family without one.
        batch_size: samples per step and share of the data.
        workers: reader processes of ``train``.
        origin: what training starts from, in words.
        export: writes the exports of (model, average or None, checkpoints folder, step); every rank calls it.
    """

    model: TrainedModel
    train: Any
    val: Any
    batch_size: int
    workers: int
    origin: str
    export: Callable[[TrainedModel, Ema | None, Path, int], None] | None


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

    @property
    def exit_status(self) -> int:
        """Exit status of a program that ends with this run: 0, or 128 + signal."""
        return 128 + self.signal if self.signal else 0


def resolved(run: ConfigT, sizes: MeshSizes) -> ConfigT:
    """Return a configuration with everything filled in that depends on the machine: this is what a run records.

    Args:
        run: with a ``log.wandb`` of auto, an empty ``log.group`` or ``log.name``, or a ``trainer.global_batch_size``.
        sizes: of the mesh.

    Raises:
        UserError: the global batch size is no multiple of the samples of all ranks.
    """
    group, name = group_and_name(run)
    wandb = run.log.wandb
    if wandb == "auto":
        wandb = bool(os.environ.get("WANDB_API_KEY")) and importlib.util.find_spec("wandb") is not None
    log = replace(run.log, wandb=wandb, group=group, name=name)
    return replace(run, log=log, trainer=replace(run.trainer, accumulate=accumulation(run, sizes.data)))


class Session(Generic[ConfigT]):
    """One training run on this rank: device, process group, random seeds, run folder, and where the run begins.

    A context manager; leaving it gives the run folder back and ends the process group::

        with Session(run) as session:
            job = make_job(run, session.folder, session.share)
            result = session.fit(job)

    Args:
        run: the configuration, checked by its family.

    Attributes:
        run: as given, with what it leaves open filled in (see :func:`resolved`).
        folder: of the run, ROOT/PROJECT/GROUP/NAME.
        sizes: of the mesh.
        on_gpu: this rank trains on a GPU.
        start: where the run begins: the checkpoint to resume from, and which options changed since.
        restarts_data: the data begins a new shuffle.
        share: the part of the data that this rank reads.

    Raises:
        UserError: an impossible mesh or device, a logger that is not installed, a run folder that another run is
            writing to, no checkpoint to resume from, or a changed option that cannot take effect.
    """

    start: Start
    restarts_data: bool
    share: DataShare

    def __init__(self, run: ConfigT) -> None:
        mesh = run.parallel
        self.sizes = mesh_sizes(mesh.data_replicate, mesh.data_shard, mesh.context, mesh.tensor, process_count())
        self.run = resolved(run, self.sizes)
        check_loggers(self.run.log)
        self.on_gpu = use_gpu(run.trainer.accelerator)
        self.folder = run_folder(self.run)
        hang, long = run.trainer.hang_timeout_s, run.trainer.long_timeout_s
        self.watch = HangWatch(self.folder / "hang.txt", hang, long, process_rank(), self.sizes.world)
        self._owner: RunOwner | None = None  # on rank 0

    def __enter__(self) -> Session[ConfigT]:
        """Start the process group, own the run folder, find where to begin, and seed all random numbers."""
        run, device = self.run, "cuda" if self.on_gpu else "cpu"
        if self.on_gpu:
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        elif run.trainer.tight_memory:
            give_memory_back()
        if self.sizes.world > 1 or run.trainer.precision != "fp32":
            start_processes(device, run.trainer.long_timeout_s if run.trainer.hang_timeout_s else 0.0)
        try:
            self.watch.begin()
            kernels.use(kernels.choose(device, asdict(run.kernels)))
            self.start = from_first(self._begin)
            rank = self.sizes.data_rank(process_rank())
            self.restarts_data = _restarts_data(run, self.sizes, self.start)
            # another seed for a new shuffle, which would else begin with what was seen
            seed = run.trainer.seed + (self.start.step if self.restarts_data else 0)
            self.share = DataShare(rank, self.sizes.data, seed)
            if not self.finished:
                quieten()
                seed_everything(run.trainer.seed, workers=True, verbose=False)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """Give the run folder back and end the process group."""
        self.watch.end()
        if self._owner is not None:
            self._owner.release()
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()

    def taken_over(self) -> str:
        """Return, on rank 0, which run took the run folder over; empty as long as it is this run's."""
        return self._owner.taken_over if self._owner else ""

    def check_owner(self) -> None:
        """Make sure, on rank 0, that the run folder is still this run's.

        Raises:
            UserError: another run took it over, as this one gave no sign of life.
        """
        if self._owner:
            self._owner.check()

    def _begin(self) -> Start:
        """On rank 0: nothing is written to the run folder before it is ours."""
        self._owner = RunOwner(self.folder, this_process(self.sizes.world, device=device_name(self.on_gpu)))
        self._owner.acquire()
        try:
            start = begin(self.run, self.folder, self._owner)
            self._owner.note_begun()
        except OSError as error:
            raise UserError(f"run folder {self.folder}: {error}") from error
        return start

    @property
    def finished(self) -> bool:
        """The checkpoint to resume from has all steps of the run: there is nothing to do."""
        return self.start.checkpoint is not None and self.start.step >= self.run.trainer.max_steps

    def result(self) -> RunResult:
        """Return what a finished run left."""
        start, steps = self.start, self.run.trainer.max_steps
        logger.info("%s has seen %d steps, trainer.max_steps=%d: nothing to do", start.checkpoint, start.step, steps)
        return RunResult(self.folder, start.step, 0)

    def fit(self, job: Job, watchers: Sequence[Callback] = ()) -> RunResult:
        """Train ``job`` to its last step.

        Args:
            job: made inside this session.
            watchers: further callbacks, called last.

        Raises:
            UserError: a network that cannot be split over this mesh, unusable data, or a loss that is not finite.
        """
        run, folder, start = self.run, self.folder, self.start
        if start.checkpoint is not None:
            trained_only = run.trainer.checkpoint_trained_only
            job.model.resumed = (trained_state if trained_only else nn.Module.state_dict)(job.model.network).keys()
        check_plan(self.sizes, job.model.network.parallel_plan(), run.parallel.attention)
        recorded = as_done(run, list(start.changes))
        if process_rank() == 0:
            save_config(recorded, folder / CONFIG)
            save_config(recorded, folder / CHECKPOINTS / CONFIG)
        stop = StopSignals(job.model.flags, lambda: newest_name(folder / CHECKPOINTS))
        callbacks = [*_make_callbacks(self, job, to_yaml(recorded), stop), self.watch, *watchers]
        trainer = _make_trainer(run, self.sizes, self.on_gpu, callbacks)
        start_loggers(trainer, run.log, folder / "logs", None if start.checkpoint is None else start.step)
        _announce(job, self.sizes, start, folder)
        rounds = 1 + run.guard.most_rollbacks * (run.guard.spike == "rollback")
        steps = Steps(job.train, run.trainer.max_steps * rounds, run.trainer.accumulate)
        try:
            with interrupts_pass():
                trainer.fit(job.model, train_dataloaders=steps)
        finally:
            close_loggers(trainer)
        return RunResult(folder, trainer.global_step, stop.received)


def use_gpu(accelerator: str) -> bool:
    """Tell whether to train on GPUs: ``trainer.accelerator`` = ``gpu``, or ``auto`` where there is one.

    Raises:
        UserError: ``gpu`` on a machine without.
    """
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("trainer.accelerator=gpu and this machine has no usable GPU: trainer.accelerator=cpu")
    return accelerator == "gpu" or (accelerator == "auto" and torch.cuda.is_available())


def _restarts_data(run: AnyConfig, sizes: MeshSizes, start: Start) -> bool:
    """Tell whether the data begins a new shuffle: it was asked for, and options, ranks or workers make it necessary."""
    if start.checkpoint is None:
        return False
    saved, workers = checkpoint_mesh(start.checkpoint)
    fits = can_resume(saved, workers, sizes, getattr(run.data, "workers", 0))
    return start.restart_data or (run.trainer.restart_data and not fits)


def _make_callbacks(session: Session[Any], job: Job, config: str, stop: StopSignals) -> list[Any]:
    """Return the callbacks, in execution order: owner, EMA, stops, log, bad samples, validation, checkpoint."""
    run, folder, sizes, start = session.run, session.folder, session.sizes, session.start
    every, model = run.trainer, job.model
    ema = Ema(run.model.ema, every.checkpoint_trained_only) if run.model.ema.enabled else None
    log = RunLog(folder / METRICS, every.log_every, model.columns, model.val_columns, step_size(run, job, sizes))
    validate = [] if job.val is None else [Validate(job.val, every.val_every, every.val_at_start, log, ema)]
    store = CheckpointStore(
        folder / CHECKPOINTS,
        every.keep_last,
        keep_best=every.keep_best,
        best_metric=every.best_metric.lstrip("-"),
        best_is_low=not every.best_metric.startswith("-"),
        run=start.line,
        may_write=session.check_owner,
    )
    write = job.export if every.export else None

    def export(_: LightningModule, step: int) -> None:
        if write is not None:
            write(model, ema, folder / CHECKPOINTS, step)

    source = DataSource(job.train, job.workers, sizes, session.restarts_data)
    save = Checkpoints(store, every.save_every, start.checkpoint, source, config, ema, log, export if write else None)
    watch = OwnerWatch(model.flags, session.taken_over)
    report = getattr(job.train, "skip_report", None)
    budget = [BadSamples(report, model.flags, sizes.world // sizes.data)] if report is not None else []
    return [watch, *([ema] if ema else []), stop, log, *budget, *validate, save]


def step_size(run: AnyConfig, job: Job, sizes: MeshSizes) -> StepSize:
    """Return what one step of the whole run is made of."""
    model, samples = job.model, job.batch_size * run.trainer.accumulate * sizes.data
    items, flops = model.items_per_sample(), model.flops_per_sample()
    if flops is None and process_rank() == 0:
        logger.info("FLOPs are not counted: %s", model.flops_unknown)
    return StepSize(
        samples=samples,
        items=None if items is None else samples * items,
        flops=None if flops is None else samples * flops,
        ranks=sizes.world,
        peak_tflops=peak_tflops(run.log.peak_tflops, run.trainer.precision),
        item_name=model.item_name,
        same_data=sizes.world // sizes.data,
    )


def _make_trainer(run: AnyConfig, sizes: MeshSizes, on_gpu: bool, callbacks: list[Any]) -> Trainer:
    config = run.trainer
    local = int(os.environ.get("LOCAL_WORLD_SIZE", sizes.world))
    alone = sizes.world == 1 and config.precision == "fp32"
    return Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=local,
        num_nodes=max(sizes.world // local, 1),
        strategy="auto" if alone else MeshStrategy(sizes, on_gpu),
        precision="32-true",  # lower precision is the work of the sharding
        max_steps=config.max_steps,
        deterministic=config.deterministic,
        callbacks=callbacks,
        plugins=[cluster_environment()],
        logger=False,
        limit_val_batches=0,  # the Validate callback validates, at the steps that we choose
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _announce(job: Job, sizes: MeshSizes, start: Start, folder: Path) -> None:
    if process_rank() == 0:
        millions = count_parameters(job.model.network) / 1e6
        origin = f"resuming from {start.checkpoint}" if start.checkpoint else f"starting from {job.origin}"
        name = job.model.run.model.name
        logger.info("%s with %.3f M parameters on %s, %s; results in %s", name, millions, sizes, origin, folder)
