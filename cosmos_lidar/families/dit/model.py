"""A diffusion transformer as a NeMo model: denoising of latents with EDM preconditioning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from cosmos_lidar.diffusion.edm import draw_sigma, loss_weight, precondition
from cosmos_lidar.families.dit.config import DitTrainConfig
from cosmos_lidar.models.dit import Predict2Config
from cosmos_lidar.models.dit.config import DiTConfig
from cosmos_lidar.training.batches import ExampleBatch
from cosmos_lidar.training.model import TrainedModel


class DitModel(TrainedModel):
    """Train ``network`` to give back latents from their noisy versions.

    Args:
        run: the resolved configuration.
        network: (x, timesteps, text) -> raw output; its parameters appear as ``network.<published key>``.
        folder: of the run.
    """

    columns: tuple[str, ...] = ("loss", "mse")
    val_columns: tuple[str, ...] = ("val/loss", "val/mse")

    def __init__(self, run: DitTrainConfig, network: nn.Module, folder: Path) -> None:
        super().__init__(run, network, folder)

    def forward(self, noisy: Tensor, sigma: Tensor, text: Tensor | None = None) -> Tensor:
        """Return the denoised latents, float32.

        Args:
            noisy: (B, C, T, H, W) latents plus noise.
            sigma: (B,) standard deviation of the noise.
            text: (B, M, D) text embedding, or None.
        """
        weights = precondition(sigma, self.run.model.noise.sigma_data)
        skip, out, _ = (part.view(-1, 1, 1, 1, 1) for part in weights[:3])
        raw = self.network(**self._network_inputs(noisy, sigma, text))
        return skip * noisy + out * raw.float()

    def inputs(self, batch: Any) -> dict[str, Any]:
        """Return noisy latents, noise conditioning and text of a batch, as the network takes them."""
        sigma, noisy = self._noised(batch)
        return self._network_inputs(noisy, sigma, batch.text)

    def _network_inputs(self, noisy: Tensor, sigma: Tensor, text: Tensor | None) -> dict[str, Any]:
        weights = precondition(sigma, self.run.model.noise.sigma_data)
        x = (weights.in_.view(-1, 1, 1, 1, 1) * noisy).to(self.compute_dtype)
        text = None if text is None else text.to(self.compute_dtype)
        return {"x": x, "timesteps": weights.noise, "text": text}

    def step(self, batch: Any) -> dict[str, Tensor]:
        """Return ``loss`` (weighted by noise level) and ``mse`` of one batch."""
        sigma, noisy = self._noised(batch)
        error = (self(noisy, sigma, batch.text) - batch.latents).square().mean(dim=(1, 2, 3, 4))
        weight = loss_weight(sigma, self.run.model.noise.sigma_data)
        return {"loss": (weight * error).mean(), "mse": error.mean()}

    def _noised(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Noise levels (B,) and noisy latents of a batch: noise is the same at each validation."""
        drawn = [self._draw(seed, batch.latents.shape[1:]) for seed in batch.noise_seeds]
        sigma = torch.cat([sigma for sigma, _ in drawn])
        return sigma, batch.latents + sigma.view(-1, 1, 1, 1, 1) * torch.stack([sample for _, sample in drawn])

    def _draw(self, seed: int, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """Noise level (1,) and noise of one sample: from a seed of its own, the same on whatever process has it."""
        generator = torch.Generator().manual_seed(seed)
        sigma = draw_sigma(1, generator, self.run.model.noise.mean, self.run.model.noise.std)
        on_device = torch.Generator(self.device).manual_seed(seed + 1)
        return sigma.to(self.device), torch.randn(shape, generator=on_device, device=self.device)

    def example_batch(self, count: int) -> ExampleBatch:
        """Return ``count`` latents of zeros, with text if the run has any."""
        data = self.run.data
        text = torch.zeros(count, *data.text_shape) if data.text_shape else None
        latents = torch.zeros(count, *data.latent_shape)
        return ExampleBatch(count, latents=latents, text=text, noise_seeds=[0] * count)

    def items_per_sample(self) -> int:
        """Return the tokens of one clip."""
        return count_tokens(self.network.config, self.run.data.latent_shape)


def count_tokens(config: DiTConfig | Predict2Config, latent_shape: Sequence[int]) -> int:
    """Return the tokens of latents of shape (C, T, H, W), those of all views together."""
    _, frames, height, width = latent_shape
    return frames // config.patch_temporal * (height // config.patch_spatial) * (width // config.patch_spatial)
