"""What all trained models have in common: sharding, optimizer, clipping, and the guards before each update.

A family adds ``step`` (loss of a batch) and the validation to :class:`TrainedModel`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from nemo.core.classes.modelPT import ModelPT
from omegaconf import OmegaConf
from torch import Tensor, nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.log import logger
from cosmos_lidar.parallel.apply import parallelise
from cosmos_lidar.parallel.clip import clip_gradients
from cosmos_lidar.parallel.ranks import gather_objects
from cosmos_lidar.training.checkpoint.state_tree import random_state, set_random_state
from cosmos_lidar.training.config import OptimConfig, Run
from cosmos_lidar.training.guards.loss_spikes import SpikeGuard
from cosmos_lidar.training.guards.nonfinite import dump_batch, first_bad_gradient, first_bad_output
from cosmos_lidar.training.guards.step_flags import Votes
from cosmos_lidar.training.measure.step_clock import StepClock
from cosmos_lidar.training.nemo_file import NemoFile


class TrainedModel(ModelPT):
    """Train ``network`` as ``run`` says.

    Args:
        run: the resolved configuration.
        network: publishes ``parallel_plan()``; its parameters keep their names.
        folder: of the run; batches of failed steps are written below it.

    Attributes:
        step_values: numbers of the last step, for the log; ``loss`` among them.
        skipped: steps that the spike guard left out.
        roll_back: the last step's loss jumped and the run is to go back to its last checkpoint.
        clock: where the time of the steps goes.
    """

    columns: tuple[str, ...] = ("loss",)
    val_columns: tuple[str, ...] = ()

    def __init__(self, run: Run, network: nn.Module, folder: Path) -> None:
        super().__init__(cfg=OmegaConf.create({"run": asdict(run)}))
        self._save_restore_connector = NemoFile()
        self.run, self.network, self.folder = run, network, folder
        self.votes, self.spikes = Votes(), SpikeGuard(run.guard)
        self.step_values: dict[str, Any] = {}
        self.skipped, self.roll_back = 0, False
        self.clock = StepClock()
        self._spread = False

    # --- what a family provides

    def step(self, batch: Any) -> dict[str, Tensor]:
        """Return ``loss`` of a batch and its parts, each a scalar."""
        raise NotImplementedError

    def meta_inputs(self) -> tuple[Tensor, ...]:
        """Return what ``network.forward`` takes for one training sample, as tensors on the ``meta`` device."""
        raise NotImplementedError

    def example_batch(self, count: int) -> Any:
        """Return ``count`` training samples of zeros, of the shapes that ``step`` takes."""
        raise NotImplementedError

    def tokens_per_sample(self) -> int:
        """Return the latent positions of one training sample."""
        raise NotImplementedError

    def further_tensors(self) -> dict[str, Tensor]:
        """Return what checkpoints are to hold beside network, optimizer and average, by name; filled in on resume."""
        return {}

    def judges(self) -> list[nn.Module]:
        """Return further networks that take part in a step and are no part of the trained one."""
        return []

    # --- the same for all

    @property
    def compute_dtype(self) -> torch.dtype:
        """What activations are computed in."""
        return torch.float32 if self.run.trainer.precision == "fp32" else torch.bfloat16

    def configure_model(self) -> None:
        """Spread the network over the mesh, once."""
        if self._spread:
            return
        self._spread = True
        config = self.run.parallel
        options = {"attention": config.attention, "recompute": config.recompute, "compile": config.compile}
        plan = self.network.parallel_plan()
        parallelise(self.network, plan, self._device_mesh, precision=self.run.trainer.precision, **options)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Return the loss of one batch."""
        self._batch, self._before = batch, random_state(with_cuda=self.device.type == "cuda")
        values = self.step(batch)
        self.step_values = {name: value.detach() for name, value in values.items()}
        return values["loss"]

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Callable[[], Any] | None = None
    ) -> None:
        """Update, and let go of the gradients at once: Lightning keeps them until the next forward pass has ended."""
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
            UserError: on every process, for what is not finite on any.
        """
        norm = clip_gradients(self.network.parameters(), self.run.optim.clip_norm or float("inf"))
        self.step_values |= {"grad_norm": norm, "lr": optimizer.param_groups[0]["lr"]}
        loss = float(self.step_values["loss"])
        self.votes.own |= {"loss": loss, "bad": float(not (math.isfinite(loss) and math.isfinite(float(norm))))}
        self.votes.exchange(self.device)
        self.clock.lap("compute_s")
        if self.votes.highest("bad"):
            self._refuse(float(norm))
        losses = self.votes.everyone["loss"]
        if self.spikes.jumps(sum(losses) / len(losses)):
            self._answer_jump(optimizer)

    def _refuse(self, norm: float) -> None:
        """Find out what is not finite, write the batch, and end the run on all processes."""
        step = self.global_step + 1
        set_random_state(self._before)
        where = first_bad_output(self.network, lambda: self.step(self._batch))
        clips = list(dict.fromkeys(getattr(self._batch, "clip_ids", [])))
        notes = {"loss": float(self.step_values["loss"]), "norm": norm, "first_bad": where, "clips": clips}
        dump_batch(self.folder / "dumps", step, self.global_rank, self._batch, notes)
        ranks = gather_objects(notes)
        lines = [
            f"rank {i}: loss {rank['loss']}, clips {', '.join(rank['clips'])}, "
            + (f"first in {rank['first_bad']}" if rank["first_bad"] else "all outputs finite")
            for i, rank in enumerate(ranks)
        ]
        if not any(rank["first_bad"] for rank in ranks):  # gradients are of all ranks together by now
            lines.append(f"first bad gradient: {first_bad_gradient(self.network)}")
        raise UserError(
            f"step {step}: the loss or the gradient (norm {norm}) is not finite; nothing was updated. "
            f"{'; '.join(lines)}. The batches are in {self.folder / 'dumps'}; `cosmos-lidar replay {self.folder} "
            f"--step {step}` runs this step again. Check these clips (cosmos-lidar inspect), or lower optim.lr"
        )

    def _answer_jump(self, optimizer: torch.optim.Optimizer) -> None:
        loss, step = float(self.step_values["loss"]), self.global_step + 1
        logger.warning("step %d: the loss jumped to %.4g: %s", step, loss, self.run.guard.spike)
        self.roll_back = self.run.guard.spike == "rollback"
        self.skipped += 1
        optimizer.zero_grad(set_to_none=True)  # without gradients the optimizer changes nothing

    def configure_optimizers(self) -> dict[str, Any]:
        """Return AdamW and its schedule."""
        config = self.run.optim
        settings = {"lr": config.lr, "betas": tuple(config.betas), "eps": config.eps, "fused": True}
        optimizer = torch.optim.AdamW(self._groups(), weight_decay=config.weight_decay, **settings)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: lr_factor(step, config))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _groups(self) -> list[dict[str, Any]]:
        """Return the trained parameters; those whose name holds ``bias`` apart where they do not decay."""
        trained = [(name, p) for name, p in self.network.named_parameters() if p.requires_grad]
        if self.run.optim.decay_biases:
            return [{"params": [p for _, p in trained]}]
        biases = [p for name, p in trained if "bias" in name]
        return [{"params": [p for name, p in trained if "bias" not in name]}, {"params": biases, "weight_decay": 0.0}]

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


def lr_factor(step: int, config: OptimConfig) -> float:
    """Return the share of the learning rate at ``step`` (from 0).

    min(1, (step + 1) / warmup_steps), times half a cosine that reaches 0 at ``decay_until`` where that is set.
    """
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    until = config.decay_until
    decay = 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / until))) if until else 1.0
    return warmup * decay
