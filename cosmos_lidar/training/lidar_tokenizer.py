"""The lidar tokenizer as a NeMo model: one training step, one validation step, optimizer and guards.

The network itself (``cosmos_lidar.models.tokenizer``) knows nothing of this module.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

import torch
from lightning.pytorch import Trainer
from nemo.core.classes.modelPT import ModelPT
from omegaconf import OmegaConf
from torch import nn

from cosmos_lidar.errors import UserError
from cosmos_lidar.losses.reconstruction import l1
from cosmos_lidar.losses.schedule import piecewise_constant
from cosmos_lidar.metrics.image import psnr, ssim
from cosmos_lidar.metrics.lidar import RangeErrors, RangeProtocol
from cosmos_lidar.sensors import RangeMapFormat, denormalise
from cosmos_lidar.training.config import TokenizerRun
from cosmos_lidar.training.exact_resume import gather_objects


class LidarTokenizerModel(ModelPT):
    """Train ``network`` to reproduce pictures of range maps.

    Args:
        run: the resolved configuration.
        network: module with ``encode`` and ``decode``; its parameters appear as ``network.<published key>``.
        perceptual: module (reconstruction, picture, mask) -> per-picture distance; None when its weight is 0.
        picture: how ranges became pictures, to report errors in metres.
        trainer: the Lightning trainer.
    """

    def __init__(
        self,
        run: TokenizerRun,
        network: nn.Module,
        perceptual: nn.Module | None,
        picture: RangeMapFormat,
        trainer: Trainer | None = None,
    ) -> None:
        super().__init__(cfg=OmegaConf.create({"run": asdict(run)}), trainer=trainer)
        self.run, self.network, self.picture = run, network, picture
        self._perceptual = (perceptual,)  # in a tuple: its frozen weights are no part of the model or its checkpoints
        self.step_values: dict[str, Any] = {}

    def on_fit_start(self) -> None:
        """Move the perceptual network to where the model is."""
        super().on_fit_start()
        if self._perceptual[0] is not None:
            self._perceptual[0].to(self.device)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return reconstructions of ``images`` (B, 3, H, W) in [-1, 1]."""
        return self.network.decode(self.network.encode(images))

    def losses(
        self, reconstruction: torch.Tensor, images: torch.Tensor, valid: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Return ``loss`` and its parts, each a scalar.

        Args:
            reconstruction: (B, 3, H, W).
            images: (B, 3, H, W) in [-1, 1].
            valid: (B, 1, H, W) bool, pixels with a return; used when ``model.loss.masked`` is on.
        """
        config = self.run.model.loss
        mask = valid if config.masked else None
        color = l1(reconstruction.float(), images.float(), mask)
        weights = [config.perceptual, config.perceptual_late]
        weight = piecewise_constant(self.global_step, [config.perceptual_boundary], weights)
        perceptual = torch.zeros((), device=images.device)
        if self._perceptual[0] is not None:
            perceptual = self._perceptual[0](reconstruction.float(), images.float(), mask).mean()
        return {"loss": config.color * color + weight * perceptual, "color": color, "perceptual": perceptual}

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move the two tensors of a batch; Lightning by itself walks into the loader's bookkeeping and fails."""
        images, valid = (tensor.to(device, non_blocking=True) for tensor in (batch.images, batch.valid))
        return replace(batch, images=images, valid=valid)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """Return the loss of one batch."""
        values = self.losses(self(batch.images), batch.images, batch.valid)
        self.step_values = {name: value.detach() for name, value in values.items()}
        self._clips = list(dict.fromkeys(batch.clip_ids))
        return values["loss"]

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Scale gradients to ``optim.clip_norm``; refuse to step on a loss or a gradient that is not finite.

        Raises:
            UserError: on every rank; the message names the step, and the clips of each rank whose loss is not finite.
        """
        limit = self.run.optim.clip_norm or float("inf")
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), limit)
        self.step_values |= {"grad_norm": norm, "lr": optimizer.param_groups[0]["lr"]}
        bad = ~(torch.isfinite(norm) & torch.isfinite(self.step_values["loss"]))
        if self.trainer.world_size > 1:
            bad = bad.float()
            torch.distributed.all_reduce(bad, torch.distributed.ReduceOp.MAX)
        if bad:
            self._refuse(norm)

    def _refuse(self, norm: torch.Tensor) -> None:
        own = {"loss": float(self.step_values["loss"]), "clips": self._clips}
        ranks = gather_objects(own, self.trainer)
        lines = [f"rank {i}: loss {rank['loss']}, clips {', '.join(rank['clips'])}" for i, rank in enumerate(ranks)]
        raise UserError(
            f"step {self.global_step + 1}: the loss or the gradient (norm {float(norm)}) is not finite; nothing was "
            f"updated. {'; '.join(lines)}. Check these clips (cosmos-lidar inspect), or lower optim.lr"
        )

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Return sums over one batch, to be pooled over batches and ranks by :meth:`pool_validation`."""
        reconstruction = self(batch.images).float()
        images = batch.images.float()
        values = self.losses(reconstruction, images, batch.valid)
        errors = RangeErrors(RangeProtocol(min_range_m=self.picture.min_range_m, max_range_m=self.picture.max_range_m))
        errors.add(self._metres(images), self._metres(reconstruction), self._one_row_each(batch.valid))
        quality = {"psnr": psnr(reconstruction, images).sum(), "ssim": ssim(reconstruction, images).sum()}
        means = {name: float(value) * len(images) for name, value in values.items()}
        return {"count": len(images), "errors": errors.state(), **means, **{k: float(v) for k, v in quality.items()}}

    def pool_validation(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Return the ``val/`` values of all batches of all ranks, weighted by their number of frames."""
        count = sum(result["count"] for result in results)
        names = ("loss", "color", "perceptual", "psnr", "ssim")
        pooled = {f"val/{name}": sum(result[name] for result in results) / count for name in names}
        errors = RangeErrors(RangeProtocol(min_range_m=self.picture.min_range_m, max_range_m=self.picture.max_range_m))
        errors.load_state(sum(result["errors"] for result in results))
        found = errors.result().published
        return pooled | {"val/rmse_m": found.rmse_m, "val/mae_m": found.mae_m, "val/relative": found.relative}

    def _metres(self, picture: torch.Tensor) -> torch.Tensor:
        """Return (B, rows, columns) metres of (B, 3, H, W) pictures: mean of channels, one row of each group."""
        ranges = denormalise(picture.clamp(-1.0, 1.0).mean(dim=1), self.picture)
        return ranges[:, self.picture.repeat_rows // 2 :: self.picture.repeat_rows]

    def _one_row_each(self, valid: torch.Tensor) -> torch.Tensor:
        return valid[:, 0, self.picture.repeat_rows // 2 :: self.picture.repeat_rows]

    def configure_optimizers(self) -> dict[str, Any]:
        """Return AdamW and its schedule."""
        config = self.run.optim
        optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=config.lr,
            betas=tuple(config.betas),
            eps=config.eps,
            weight_decay=config.weight_decay,
            fused=True,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: lr_factor(step, config.warmup_steps, config.decay_until)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep plain values only: the file is read back without unpickling."""
        for key in (
            self.CHECKPOINT_HYPER_PARAMS_KEY, self.CHECKPOINT_HYPER_PARAMS_NAME, self.CHECKPOINT_HYPER_PARAMS_TYPE
        ):  # fmt: skip
            checkpoint.pop(key, None)
        checkpoint["run"] = asdict(self.run)

    def setup_training_data(self, train_data_config: Any) -> None:
        """Nothing: the loaders are handed to the trainer."""

    def setup_validation_data(self, val_data_config: Any) -> None:
        """Nothing: the loaders are handed to the trainer."""

    @classmethod
    def list_available_models(cls) -> list:
        """Return the weights that can be fetched by name: none."""
        return []


def lr_factor(step: int, warmup_steps: int, decay_until: int = 0) -> float:
    """Return the share of the learning rate at ``step`` (from 0).

    min(1, (step + 1) / warmup_steps), times half a cosine that reaches 0 at ``decay_until`` where that is set.
    """
    warmup = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    decay = 0.5 * (1.0 + math.cos(math.pi * min(1.0, step / decay_until))) if decay_until else 1.0
    return warmup * decay
