"""Camera-to-lidar diffusion as a NeMo model: the range map's slot is denoised, the pictures' slots are given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from cosmos_lidar.diffusion.objective import make_objective
from cosmos_lidar.errors import UserError
from cosmos_lidar.families.dit.model import DitModel
from cosmos_lidar.families.lidargen.config import LidarGenRun
from cosmos_lidar.families.lidargen.denoiser import LidarGenDenoiser, draw_sigma_aug
from cosmos_lidar.families.lidargen.online_encoder import FrameLatents
from cosmos_lidar.models.dit.rays import RAY


class LidarGenModel(DitModel):
    """Train ``network`` to give back the latents of range maps from their noisy versions and from pictures.

    Args:
        run: the resolved configuration.
        network: a diffusion transformer of one view for each slot of the canvas.
        folder: of the run.
        encode: (batch of frames, device) -> batch of latents; None where latents come in.
    """

    columns = ("loss", "mse")
    val_columns = ("val/loss", "val/mse")

    def __init__(
        self, run: LidarGenRun, network: nn.Module, folder: Path, encode: FrameLatents | None = None
    ) -> None:
        super().__init__(run, network, folder)
        self.encode = encode
        self.layout = run.model.canvas.layout()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move the tensors of a batch, rays with them; frames are encoded on the way."""
        batch = batch if self.encode is None else self.encode(batch, device)
        batch = super().transfer_batch_to_device(batch, device, dataloader_idx)
        return batch if batch.rays is None else replace(batch, rays=batch.rays.to(device, non_blocking=True))

    def forward(
        self, noisy: Tensor, sigma: Tensor, canvas: Tensor, sigma_aug: Tensor, noise: Tensor, rays: Tensor | None
    ) -> Tensor:
        """Return x0 of a canvas; arguments as those of :class:`LidarGenDenoiser`."""
        model = self.run.model
        denoiser = LidarGenDenoiser(
            self.network, self.layout, model.noise.sigma_data, self.compute_dtype, model.objective, model.canvas.dense
        )
        return denoiser(noisy, sigma, canvas, sigma_aug, noise, rays)

    def step(self, batch: Any) -> dict[str, Tensor]:
        """Return ``loss``, weighted by noise level, and ``mse`` of the lidar.

        The loss is over the whole canvas, as published, or over the lidar's part of a dense one.

        Raises:
            UserError: the network wants rays, and the latents came without.
        """
        rays = self._rays_of(batch)
        canvas, model = batch.latents, self.run.model
        drawn = [self._draw(seed, canvas.shape[1:]) for seed in batch.noise_seeds]
        sigma, noise = torch.cat([level for level, _ in drawn]), torch.stack([sample for _, sample in drawn])
        sigma_aug, condition_noise = self._condition_noise(batch.noise_seeds, canvas.shape[1:])
        noisy = canvas + sigma.view(-1, 1, 1, 1, 1) * noise
        error = (self(noisy, sigma, canvas, sigma_aug, condition_noise, rays) - canvas).square()
        of_lidar = self.layout.lidar_of(error)
        counted = of_lidar.mean(dim=(1, 2, 3)) if model.canvas.dense else error.mean(dim=(1, 2, 3, 4))
        weight = make_objective(model.objective, model.noise.sigma_data).loss_weight(sigma)
        return {"loss": (weight * counted).mean(), "mse": of_lidar.mean()}

    def meta_inputs(self) -> tuple[Tensor | None, ...]:
        """Return the inputs of one sample on the ``meta`` device."""
        shape = self.run.data.latent_shape
        canvas, level = torch.empty(1, *shape, device="meta"), torch.empty(1, device="meta")
        return canvas, level, None, None, None, None, None, self._example_rays(1, "meta"), self._kept("meta")

    def example_batch(self, count: int) -> SimpleNamespace:
        """Return ``count`` canvases of zeros, with rays if the network wants them."""
        return SimpleNamespace(**vars(super().example_batch(count)), rays=self._example_rays(count, "cpu"))

    def tokens_per_sample(self) -> int:
        """Return the tokens that the network looks at."""
        return len(self.layout.kept()) if self.run.model.canvas.dense else super().tokens_per_sample()

    def _kept(self, device: str) -> Tensor | None:
        return self.layout.kept().to(device) if self.run.model.canvas.dense else None

    def _example_rays(self, count: int, device: str) -> Tensor | None:
        if not self.run.model.rays:
            return None
        rows, columns = (side // 2 for side in self.layout.size)
        return torch.zeros(count, 1 + self.layout.views, rows, columns, RAY, device=device)

    def _rays_of(self, batch: Any) -> Tensor | None:
        if not self.run.model.rays:
            return None
        if batch.rays is None:
            raise UserError("model.rays=True: these latents have no rays; encode them anew, cosmos-lidar encode-views")
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
