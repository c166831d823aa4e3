"""A diffusion transformer as a NeMo model: denoising of latents with EDM preconditioning."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from cosmos_lidar.diffusion.edm import draw_sigma, loss_weight, precondition
from cosmos_lidar.families.dit.config import DitRun
from cosmos_lidar.training.model import TrainedModel


class DitModel(TrainedModel):
    """Train ``network`` to give back latents from their noisy versions.

    Args:
        run: the resolved configuration.
        network: (x, timesteps, text) -> raw output; its parameters appear as ``network.<published key>``.
        folder: of the run.
    """

    columns = ("loss", "mse")
    val_columns = ("val/loss", "val/mse")

    def __init__(self, run: DitRun, network: nn.Module, folder: Path) -> None:
        super().__init__(run, network, folder)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move the tensors of a batch; Lightning by itself walks into the loader's bookkeeping and fails."""
        text = None if batch.text is None else batch.text.to(device, non_blocking=True)
        return replace(batch, latents=batch.latents.to(device, non_blocking=True), text=text)

    def forward(self, noisy: Tensor, sigma: Tensor, text: Tensor | None = None) -> Tensor:
        """Return the denoised latents, float32.

        Args:
            noisy: (B, C, T, H, W) latents plus noise.
            sigma: (B,) standard deviation of the noise.
            text: (B, M, D) text embedding, or None.
        """
        weights = precondition(sigma, self.run.model.noise.sigma_data)
        skip, out, in_ = (part.view(-1, 1, 1, 1, 1) for part in weights[:3])
        text = None if text is None else text.to(self.compute_dtype)
        raw = self.network((in_ * noisy).to(self.compute_dtype), weights.noise, text)
        return skip * noisy + out * raw.float()

    def step(self, batch: Any) -> dict[str, Tensor]:
        """Return ``loss`` (weighted by noise level) and ``mse`` of one batch."""
        noise = self.run.model.noise
        drawn = [self._draw(seed, batch.latents.shape[1:]) for seed in batch.noise_seeds]
        sigma = torch.cat([sigma for sigma, _ in drawn])
        noisy = batch.latents + sigma.view(-1, 1, 1, 1, 1) * torch.stack([sample for _, sample in drawn])
        error = (self(noisy, sigma, batch.text) - batch.latents).square().mean(dim=(1, 2, 3, 4))
        return {"loss": (loss_weight(sigma, noise.sigma_data) * error).mean(), "mse": error.mean()}

    def _draw(self, seed: int, shape: torch.Size) -> tuple[Tensor, Tensor]:
        """Noise level (1,) and noise of one sample: from a seed of its own, the same on whatever process has it."""
        generator = torch.Generator().manual_seed(seed)
        sigma = draw_sigma(1, generator, self.run.model.noise.mean, self.run.model.noise.std)
        on_device = torch.Generator(self.device).manual_seed(seed + 1)
        return sigma.to(self.device), torch.randn(shape, generator=on_device, device=self.device)

    def validation_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Return sums over one batch, to be pooled by :meth:`pool_validation`; noise is the same at each validation."""
        count = len(batch.latents)
        return {"count": count, **{name: float(value) * count for name, value in self.step(batch).items()}}

    def pool_validation(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Return the ``val/`` values of all batches of all ranks, weighted by their number of clips."""
        count = sum(result["count"] for result in results)
        return {f"val/{name}": sum(result[name] for result in results) / count for name in self.columns}

    def meta_inputs(self) -> tuple[Tensor, ...]:
        """Return latent, noise level and text of one clip on the ``meta`` device."""
        data = self.run.data
        text = torch.empty(1, *data.text_shape, device="meta") if data.text_shape else None
        return torch.empty(1, *data.latent_shape, device="meta"), torch.empty(1, device="meta"), text

    def example_batch(self, count: int) -> SimpleNamespace:
        """Return ``count`` latents of zeros, with text if the run has any."""
        data = self.run.data
        text = torch.zeros(count, *data.text_shape) if data.text_shape else None
        latents = torch.zeros(count, *data.latent_shape)
        return SimpleNamespace(latents=latents, text=text, clip_ids=[], noise_seeds=[0] * count)

    def tokens_per_sample(self) -> int:
        """Return the tokens of one clip."""
        _, frames, height, width = self.run.data.latent_shape
        config = self.network.config
        return frames // config.patch_temporal * (height // config.patch_spatial) * (width // config.patch_spatial)
