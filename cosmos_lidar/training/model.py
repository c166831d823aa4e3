"""What all trained models have in common: sharding, optimizer, clipping, and the guards before each update.

A family adds ``step`` (loss of a batch) and the validation to :class:`TrainedModel`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from nemo.core.classes.modelPT import ModelPT
from omegaconf import OmegaConf
from torch import Tensor, nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.files import write_may_fail
from cosmos_lidar.log import logger
from cosmos_lidar.parallel.apply import parallelize, sync_gradients
from cosmos_lidar.parallel.clip import clip_gradients
from cosmos_lidar.parallel.materialize import WeightSource, fill, local_device, materialize
from cosmos_lidar.parallel.ranks import gather_objects, mean_over_ranks
from cosmos_lidar.training.batches import clips_of, sample_count
from cosmos_lidar.training.checkpoint.state_tree import random_state, set_random_state
from cosmos_lidar.training.config import Run
from cosmos_lidar.training.guards.loss_spikes import SpikeGuard
from cosmos_lidar.training.guards.nonfinite import dump_batches, first_bad_gradient, first_bad_output
from cosmos_lidar.training.guards.step_flags import StepFlags
from cosmos_lidar.training.measure.flops import count_training_flops, on_meta
from cosmos_lidar.training.measure.step_clock import StepClock
from cosmos_lidar.training.measure.stragglers import OwnTime
from cosmos_lidar.training.nemo_file import NemoFile
from cosmos_lidar.training.optimizer import make_optimizer
from cosmos_lidar.training.overrides import without_interpolation
from cosmos_lidar.training.validation import pooled_means


class TrainedModel(ModelPT):
    """Lightning module of a model: trains ``network`` as configured by ``run``.

    Args:
        run: the resolved configuration.
        network: publishes ``parallel_plan()``; its parameters keep their names.
        folder: of the run; batches of failed steps are written below it.

    Attributes:
        columns: names of the values that :meth:`step` returns, as columns of the log.
        val_columns: names of the values that :meth:`pool_validation` returns.
        item_name: what throughput is counted in beside samples: tokens, voxels or points.
        flops_unknown: why FLOPs are not counted; empty where they are.
        weights: where the weights come from, of a network on the meta device; the first that has a name.
        resumed: tensors of the network that a checkpoint gives their values afterwards.
        frozen: networks that take part in a step and are not trained (losses, tokenizers): in eval mode, without
            gradients, on the model's device, and not in checkpoints.
        step_values: values of the last step, for the log; ``loss`` among them.
        items_seen: items of all batches that this rank has trained on.
        skipped: steps without an update, as their loss jumped.
        roll_back: the last step's loss jumped and the run is to resume from its last checkpoint.
        clock: where the time of the steps goes.
        own_time: measures this rank's own work, where there are several ranks.
    """

    columns: tuple[str, ...] = ("loss",)
    val_columns: tuple[str, ...] = ()
    item_name: str = "tokens"
    network: Any  # torch's attributes are tensors or modules to a type checker
    flops_unknown: str = ""

    def __init__(self, run: Run, network: nn.Module, folder: Path) -> None:
        super().__init__(cfg=OmegaConf.create({"run": without_interpolation(asdict(run))}))
        self._save_restore_connector = NemoFile()
        self.run, self.network, self.folder = run, network, folder
        self.flags, self.spikes = StepFlags(), SpikeGuard(run.guard)
        self.weights: Sequence[WeightSource] = ()
        self.resumed: Collection[str] = ()
        self.frozen: list[nn.Module] = []  # a plain list: they are no part of the model's own modules
        self.step_values: dict[str, Any] = {}
        self.items_seen, self.skipped, self.roll_back = 0, 0, False
        self.clock = StepClock()
        self.own_time: OwnTime | None = None
        self._configured = False
        self._batches: list[Any] = []
        self._before: object = None

    # --- what a family provides

    def step(self, batch: Any) -> dict[str, Tensor]:
        """Return ``loss`` of a batch and its parts, each a scalar."""
        raise NotImplementedError

    def inputs(self, batch: Any) -> dict[str, Any]:
        """Return the keyword arguments that ``network.forward`` takes for a batch.

        A model without them has no FLOPs in its log.
        """
        raise NotImplementedError(f"{type(self).__name__} has no inputs(batch)")

    def example_batch(self, count: int) -> Any:
        """Return ``count`` training samples of zeros, of the shapes that ``step`` takes."""
        raise NotImplementedError(f"{type(self).__name__} has no example_batch(count)")

    def encode_example(self, ranks: int) -> None:
        """Encode one recorded sample as a step does it, this rank's part of it, on the current default device.

        Args:
            ranks: that share the sample.
        """

    def items_per_sample(self) -> int | None:
        """Return the items (:attr:`item_name`) of one sample; None where each batch has its own number."""
        return None

    def items_of(self, batch: Any) -> int:
        """Return the items of a batch."""
        return (self.items_per_sample() or 0) * sample_count(batch)

    def loss_weight(self, batch: Any) -> float:
        """Return the number of what the loss of a batch is a mean over; the number of its samples.

        Accumulated batches count in proportion. A family whose number differs from batch to batch, such as the points
        of a sweep, returns that number: the loss of a step is then the mean over all of them, on all ranks together.
        """
        return float(sample_count(batch))

    def further_tensors(self) -> dict[str, Tensor]:
        """Return what checkpoints hold beside network, optimizer and EMA, by name; filled in place on resume."""
        return {}

    def frozen_modules(self) -> list[nn.Module]:
        """Return the networks that take part in a step and are not trained."""
        return self.frozen

    def auxiliary_modules(self) -> list[nn.Module]:
        """Return networks that train themselves inside :meth:`step`, such as a discriminator."""
        return []

    # --- derived from these; a family may replace them

    def example_inputs(self) -> dict[str, Any]:
        """Return :meth:`inputs` of one sample, its tensors on the ``meta`` device."""
        inputs = self.inputs(self.example_batch(1))
        return {name: on_meta(value) for name, value in inputs.items()}

    def flops_per_sample(self) -> int | None:
        """Return the model FLOPs of one training sample, or None, with the reason in :attr:`flops_unknown`.

        Raises:
            UserError: the network cannot take the sizes of the samples.
        """
        if self.flops_unknown:
            return None
        count, self.flops_unknown = count_training_flops(self.network, self.example_inputs)
        return count

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Return sums over one batch, to be pooled over batches and ranks by :meth:`pool_validation`."""
        weight = self.loss_weight(batch)
        return {"count": weight, **{name: float(value) * weight for name, value in self.step(batch).items()}}

    def pool_validation(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Return the ``val/`` values of all batches of all ranks, weighted by their ``count``."""
        return pooled_means(results, self.columns)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch by its own ``to``; of a list of batches each moves when its turn comes."""
        return batch if isinstance(batch, list) else batch.to(device)

    # --- the same for all

    @property
    def compute_dtype(self) -> torch.dtype:
        """Type that activations are computed in."""
        return torch.float32 if self.run.trainer.precision == "fp32" else torch.bfloat16

    def configure_model(self) -> None:
        """Parallelize the network over the mesh and load its weights, once; each rank its shards alone."""
        if self._configured:
            return
        self._configured = True
        if self.run.trainer.precision == "fp8":  # TransformerEngine's layers take over weights that are there
            self._load_weights("cpu")
        self.parallelize()
        mesh = self._device_mesh
        self._load_weights(self.trainer.strategy.root_device if mesh is None else local_device(mesh.device_type))

    def _load_weights(self, device: torch.device | str) -> None:
        materialize(self.network, device)
        fill(self.network, self.weights, self.resumed)
        self.weights = ()

    def parallelize(self) -> None:
        """Parallelize the network over the mesh; its parameters may be on the meta device."""
        config = self.run.parallel
        parallelize(
            self.network,
            self.network.parallel_plan(),
            self._device_mesh,
            attention=config.attention,
            recompute=config.recompute,
            compile=config.compile,
            precision=self.run.trainer.precision,
        )

    def on_fit_start(self) -> None:
        """Move the frozen and auxiliary networks to where the model is."""
        super().on_fit_start()
        self.prepare_frozen()
        for network in (*self.frozen_modules(), *self.auxiliary_modules()):
            network.to(self.device)
        if self.trainer.world_size > 1 and self.own_time is None:
            self.own_time = OwnTime(self._measured_blocks(), self.device.type == "cuda")

    def _measured_blocks(self) -> list[nn.Module]:
        """Return the blocks whose time is measured; none where they are compiled: hooks would split them."""
        if self.run.parallel.compile:
            return []
        return [self.network.get_submodule(name) for name in self.network.parallel_plan().blocks]

    def prepare_frozen(self) -> None:
        """Put the frozen networks into eval mode, without gradients."""
        for network in self.frozen_modules():
            network.eval().requires_grad_(False)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of one batch, or of the last of several whose gradients are accumulated.

        Args:
            batch: of the loader, or a list of ``trainer.accumulate`` such.
            batch_idx: number of the step.
        """
        self._batches = batch if isinstance(batch, list) else [batch]
        self._before = random_state(with_cuda=self.device.type == "cuda")
        loss, self.step_values = self.run_batches(self._batches, self._loss_shares())
        return loss

    def run_batches(self, batches: list[Any], shares: list[float]) -> tuple[Tensor, dict[str, Tensor]]:
        """Run forward and backward of all ``batches``, of the last one forward alone.

        Args:
            batches: of one step.
            shares: of each in the loss of the step.

        Returns:
            (loss of the last one, to be differentiated; the values of the step, without gradient).
        """
        sums: dict[str, Tensor] = {}
        for number, (batch, share) in enumerate(zip(batches, shares, strict=True), 1):
            if len(batches) > 1:
                batch = self.transfer_batch_to_device(batch, self.device, 0)
                sync_gradients(self.network, number == len(batches), self.run.parallel.reduce)
            self.items_seen += self.items_of(batch)
            values = self.step(batch)
            loss = values["loss"] if share == 1.0 else values["loss"] * share
            if number < len(batches):
                loss.backward()
            parts = {name: value.detach() * share for name, value in values.items()}
            sums = {name: sums[name] + part for name, part in parts.items()} if sums else parts
        return loss, sums

    def _loss_shares(self) -> list[float]:
        """Share of each batch in the loss of this step; their sum is 1 in the mean over ranks."""
        own = type(self).loss_weight is not TrainedModel.loss_weight
        if len(self._batches) == 1 and not own:
            return [1.0]
        weights = [self.loss_weight(batch) for batch in self._batches]
        total = mean_over_ranks(sum(weights), self.device) if own else sum(weights)
        return [weight / total if total else 1.0 / len(weights) for weight in weights]

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: torch.optim.Optimizer) -> None:
        """Nothing: Lightning calls this after :meth:`training_step`, when accumulated gradients are there already."""

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """Update, then free the gradients at once: Lightning keeps them until the next forward pass has ended."""
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        optimizer.zero_grad(set_to_none=True)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Scale gradients to ``optim.clip_norm``, and look before the update: is all finite, did the loss jump?

        Raises:
            UserError: on every rank, for what is not finite on any.
        """
        norm = clip_gradients(self.network.parameters(), self.run.optim.clip_norm or float("inf"))
        self.step_values |= {"grad_norm": norm, "lr": optimizer.param_groups[0]["lr"]}
        loss = float(self.step_values["loss"])
        self.flags.own |= {"loss": loss, "bad": float(not (math.isfinite(loss) and math.isfinite(float(norm))))}
        if self.own_time is not None:
            self.flags.own["own_s"] = self.own_time.read(self.clock.take_own())
        self.flags.exchange(self.device)
        self.clock.lap("compute_s")
        if self.flags.max_over_ranks("bad"):
            self._refuse(float(norm))
        if self.spikes.jumps(self.flags.mean_over_ranks("loss")):
            self._answer_jump(optimizer)

    def _refuse(self, norm: float) -> None:
        """Find out what is not finite, write the batch, and end the run on all ranks."""
        step = self.global_step + 1
        set_random_state(self._before)
        where = first_bad_output(self.network, self._run_again)
        clips = clips_of(self._batches)
        notes = {"loss": float(self.step_values["loss"]), "norm": norm, "first_bad": where, "clips": clips}
        with write_may_fail(f"the batches of step {step}", "the run ends all the same"):
            dump_batches(self.folder / "dumps", step, self.global_rank, self._batches, notes)
        ranks = gather_objects(notes)
        gradients = [""] * len(ranks)
        if not any(rank["first_bad"] for rank in ranks):  # those that are there are of all ranks together by now
            set_random_state(self._before)
            gradients = gather_objects(first_bad_gradient(self.network, self._differentiate_again))
        lines = [
            f"rank {i}: loss {rank['loss']}, clips {', '.join(rank['clips'])}, "
            + (f"first in {rank['first_bad']}" if rank["first_bad"] else "all outputs finite")
            + (f", first bad gradient: {gradient}" if gradient else "")
            for i, (rank, gradient) in enumerate(zip(ranks, gradients, strict=True))
        ]
        raise UserError(
            f"step {step}: the loss or the gradient (norm {norm}) is not finite; nothing was updated. "
            f"{'; '.join(lines)}. The batches are in {self.folder / 'dumps'}; `cosmos-lidar replay {self.folder} "
            f"--step {step}` runs this step again. Check these clips (cosmos-lidar inspect), or lower optim.lr"
        )

    def _run_again(self) -> None:
        for batch in self._batches:
            self.step(self.transfer_batch_to_device(batch, self.device, 0))

    def _differentiate_again(self) -> None:
        for parameter in self.network.parameters():
            parameter.grad = None
        for batch in self._batches:
            self.step(self.transfer_batch_to_device(batch, self.device, 0))["loss"].backward()

    def _answer_jump(self, optimizer: torch.optim.Optimizer) -> None:
        loss, step = float(self.step_values["loss"]), self.global_step + 1
        logger.warning("step %d: loss spike, %.4g: %s", step, loss, self.run.guard.spike)
        self.roll_back = self.run.guard.spike == "rollback"
        self.skipped += 1
        optimizer.zero_grad(set_to_none=True)  # without gradients the optimizer changes nothing

    def configure_optimizers(self) -> dict[str, Any]:
        """Return AdamW and its schedule."""
        optimizer, schedule = make_optimizer(self.network, self.run.optim)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def setup_training_data(self, train_data_config: Any) -> None:
        """Refuse: dataloaders are passed to ``Trainer.fit``.

        Raises:
            UserError: always.
        """
        raise UserError("setup_training_data: dataloaders are passed to Trainer.fit(model, train_dataloaders)")

    def setup_validation_data(self, val_data_config: Any) -> None:
        """Refuse: validation data is given to the engine.

        Raises:
            UserError: always.
        """
        raise UserError("setup_validation_data: the Validate callback of the engine is given the dataloader")

    @classmethod
    def restore_from(cls, restore_path: str, *args: Any, **options: Any) -> Any:
        """Return the model of a ``.nemo`` file of ``save_to``, see :class:`~cosmos_lidar.training.nemo_file.NemoFile`.

        Raises:
            DataError: a file that is not safe to read, or of another class.
        """
        options.setdefault("save_restore_connector", NemoFile())
        return super().restore_from(str(restore_path), *args, **options)

    @classmethod
    def list_available_models(cls) -> list:
        """Return the weights that can be fetched by name: none."""
        return []
