"""Camera-to-lidar diffusion as a NeMo model: the range map's slot is denoised, the images' slots are given."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cosmos_lidar.diffusion.objective import make_objective
from cosmos_lidar.errors import UserError
from cosmos_lidar.families.dit.model import DitModel
from cosmos_lidar.families.lidargen.config import LidarGenTrainConfig
from cosmos_lidar.families.lidargen.denoiser import LidarGenDenoiser, draw_sigma_aug
from cosmos_lidar.families.lidargen.online_encoder import FrameLatents
from cosmos_lidar.losses.cosine import grid_cosine_loss
from cosmos_lidar.models.dit.rays import RAY
from cosmos_lidar.training.batches import ExampleBatch


class LidarGenModel(DitModel):
    """Train ``network`` to give back the latents of range maps from their noisy versions and from images.

    Args:
        run: the resolved configuration.
        network: a diffusion transformer of one view for each slot of the canvas.
        folder: of the run.
        encode: (batch of frames, device) -> batch of latents; None where latents come in.
    """

    columns: tuple[str, ...] = ("loss", "mse")
    val_columns: tuple[str, ...] = ("val/loss", "val/mse")

    def __init__(
        self, run: LidarGenTrainConfig, network: nn.Module, folder: Path, encode: FrameLatents | None = None
    ) -> None:
        super().__init__(run, network, folder)
        self.encode = encode
        self.layout = run.model.canvas.layout()
        if run.model.alignment.weight:
            self.columns = (*type(self).columns, "alignment")
            self.val_columns = (*type(self).val_columns, "val/alignment")

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch to the device; of frames, their latents."""
        if self.encode is not None and not isinstance(batch, list):
            batch = self.encode(batch, device)
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    @cached_property
    def denoiser(self) -> LidarGenDenoiser:
        """The network with its preconditioning."""
        model = self.run.model
        return LidarGenDenoiser(
            self.network, self.layout, model.noise.sigma_data, self.compute_dtype, model.objective, model.canvas.dense
        )

    def inputs(self, batch: Any) -> dict[str, Any]:
        """Return the noisy canvases of a batch, with masks and rays, as the network takes them."""
        return self.denoiser.inputs(**self._drawn(batch))

    def step(self, batch: Any) -> dict[str, Tensor]:
        """Return ``loss``, weighted by noise level, ``mse`` of the lidar, and ``alignment`` where that is in the loss.

        The loss is over the whole canvas, as published, or over the lidar's part of a dense one.

        Raises:
            UserError: the network wants rays or features of a backbone, and the latents came without.
        """
        drawn, model = self._drawn(batch), self.run.model
        error = (self.denoiser(**drawn) - batch.latents).square()
        of_lidar = self.layout.lidar_of(error)
        counted = of_lidar.mean(dim=(1, 2, 3)) if model.canvas.dense else error.mean(dim=(1, 2, 3, 4))
        weight = make_objective(model.objective, model.noise.sigma_data).loss_weight(drawn["sigma"])
        values = {"loss": (weight * counted).mean(), "mse": of_lidar.mean()}
        return self._aligned(values, batch) if model.alignment.weight else values

    def _aligned(self, values: dict[str, Tensor], batch: Any) -> dict[str, Tensor]:
        """Add the alignment of inner tokens with features of a backbone to the values of a step."""
        projected, wanted = self.network.alignment.take(), batch.alignment
        if wanted is None or wanted.shape != projected.shape:
            found = "none" if wanted is None else str(tuple(wanted.shape[1:]))
            problem = f"features of a lidar backbone of shape {found}, wanted {tuple(projected.shape[1:])}"
            raise UserError(f"model.alignment: {problem}; encode again, cosmos-lidar encode-views --alignment")
        alignment = grid_cosine_loss(projected, wanted)
        return {**values, "loss": values["loss"] + self.run.model.alignment.weight * alignment, "alignment": alignment}

    def example_batch(self, count: int) -> ExampleBatch:
        """Return ``count`` canvases of zeros, with rays if the network is conditioned on rays."""
        batch = super().example_batch(count)
        rows, columns = (side // 2 for side in self.layout.size)
        rays = torch.zeros(count, 1 + self.layout.views, rows, columns, RAY)
        batch.rays = rays if self.run.model.rays else None
        if self.run.model.alignment.weight:
            grid, _ = self.layout.lidar_tokens(self.run.model.canvas.dense)
            batch.alignment = torch.zeros(count, *grid, self.run.model.alignment.channels)
        return batch

    def items_per_sample(self) -> int:
        """Return the tokens in the network's sequence."""
        return len(self.layout.kept()) if self.run.model.canvas.dense else super().items_per_sample()

    def _drawn(self, batch: Any) -> dict[str, Any]:
        """Return the arguments of the denoiser: canvases, rays, and noise from the samples' own seeds."""
        rays, canvas = self._rays_of(batch), batch.latents
        sigma, noisy = self._noised(batch)
        sigma_aug, noise = self._condition_noise(batch.noise_seeds, canvas.shape[1:])
        return {
            "noisy": noisy, "sigma": sigma, "canvas": canvas, "sigma_aug": sigma_aug, "noise": noise, "rays": rays,
        }  # fmt: skip

    def _rays_of(self, batch: Any) -> Tensor | None:
        if not self.run.model.rays:
            return None
        if batch.rays is None:
            raise UserError("model.rays=True: these latents have no rays; encode them again, cosmos-lidar encode-views")
        wanted = (1 + self.layout.views, *(side // 2 for side in self.layout.size), RAY)
        if tuple(batch.rays.shape[1:]) != wanted:
            raise UserError(f"rays of shape {tuple(batch.rays.shape[1:])}: model.canvas wants {wanted}")
        return batch.rays

    def _condition_noise(self, seeds: list[int], shape: torch.Size) -> tuple[Tensor, Tensor]:
        """Return noise levels (B,) and noise of the given slots: from the samples' own seeds."""
        levels, noises = [], []
        for seed in seeds:
            levels.append(draw_sigma_aug(1, torch.Generator().manual_seed(seed + 2)))
            generator = torch.Generator(self.device).manual_seed(seed + 3)
            noises.append(torch.randn(shape, generator=generator, device=self.device))
        return torch.cat(levels).to(self.device), torch.stack(noises)
