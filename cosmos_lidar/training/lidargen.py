"""Camera-to-lidar diffusion as a NeMo model: the range map's slot is denoised, the pictures' slots are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cosmos_lidar.diffusion.edm import loss_weight
from cosmos_lidar.models.lidargen.denoiser import LidarGenDenoiser, draw_sigma_aug
from cosmos_lidar.training.dit import DitModel
from cosmos_lidar.training.lidargen_config import LidarGenRun


class LidarGenModel(DitModel):
    """Train ``network`` to give back the latents of range maps from their noisy versions and from pictures.

    Args:
        run: the resolved configuration.
        network: a diffusion transformer of one view for each slot of the canvas.
        folder: of the run.
    """

    columns = ("loss", "mse")
    val_columns = ("val/loss", "val/mse")

    def __init__(self, run: LidarGenRun, network: nn.Module, folder: Path) -> None:
        super().__init__(run, network, folder)
        self.layout = run.model.canvas.layout()

    def step(self, batch: Any) -> dict[str, Tensor]:
        """Return ``loss``, weighted by noise level and over the whole canvas as published, and ``mse`` of the lidar."""
        canvas, sigma_data = batch.latents, self.run.model.noise.sigma_data
        drawn = [self._draw(seed, canvas.shape[1:]) for seed in batch.noise_seeds]
        sigma, noise = torch.cat([level for level, _ in drawn]), torch.stack([sample for _, sample in drawn])
        sigma_aug, condition_noise = self._condition_noise(batch.noise_seeds, canvas.shape[1:])
        noisy = canvas + sigma.view(-1, 1, 1, 1, 1) * noise
        denoiser = LidarGenDenoiser(self.network, self.layout, sigma_data, self.compute_dtype)
        error = (denoiser(noisy, sigma, canvas, sigma_aug, condition_noise) - canvas).square()
        weighted = loss_weight(sigma, sigma_data) * error.mean(dim=(1, 2, 3, 4))
        return {"loss": weighted.mean(), "mse": self.layout.lidar_of(error).mean()}

    def _condition_noise(self, seeds: list[int], shape: torch.Size) -> tuple[Tensor, Tensor]:
        """Return noise levels (B,) and noise of the given slots: from the samples' own seeds."""
        levels, noises = [], []
        for seed in seeds:
            levels.append(draw_sigma_aug(1, torch.Generator().manual_seed(seed + 2)))
            generator = torch.Generator(self.device).manual_seed(seed + 3)
            noises.append(torch.randn(shape, generator=generator, device=self.device))
        return torch.cat(levels).to(self.device), torch.stack(noises)
