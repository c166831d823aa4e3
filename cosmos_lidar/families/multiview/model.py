"""Multi-view video diffusion as a NeMo model: rectified flow, generated from the first frames of every view."""

from __future__ import annotations

import math
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cosmos_lidar.diffusion.conditional_flow import (
    Condition,
    ConditionalFlow,
    draw_count,
    draw_level,
    first_frames,
    interpolate,
)
from cosmos_lidar.diffusion.objective import flow_time
from cosmos_lidar.families.dit.model import count_tokens
from cosmos_lidar.families.multiview.clips import ViewClips, view_clips
from cosmos_lidar.families.multiview.config import MultiviewTrainConfig
from cosmos_lidar.families.multiview.online_encoder import VAE_DTYPES, WindowLatents
from cosmos_lidar.families.multiview.rays import TOKEN_PX
from cosmos_lidar.models.dit.rays import RAY
from cosmos_lidar.models.wan_vae import build_vae
from cosmos_lidar.training.batches import ExampleBatch
from cosmos_lidar.training.model import TrainedModel


class Drawn(NamedTuple):
    """What is random in a training sample, from its own seed: the same on whatever rank has it.

    Attributes:
        sigma: (1,) noise level.
        given: conditioning latent frames of each view.
        text: whether the text is kept.
        noise: unit-variance noise, shaped as the latents.
        controls: whether each kind of control videos is kept.
        sweeps: whether the sweeps of a lidar are kept.
    """

    sigma: Tensor
    given: int
    text: bool
    noise: Tensor
    controls: tuple[bool, ...] = ()
    sweeps: bool = True


class MultiviewModel(TrainedModel):
    """Train ``network`` to predict the velocity from noise to the latents of all views.

    Args:
        run: the resolved configuration.
        network: (x, timesteps, text, condition_mask, fps, padding_mask, view_indices) -> velocity.
        folder: of the run.
        encode: (batch of videos, device) -> the batch with latents; None where latents come in.
    """

    columns = ("loss", "velocity_error")
    val_columns = ("val/loss", "val/velocity_error")

    def __init__(
        self, run: MultiviewTrainConfig, network: nn.Module, folder: Path, encode: WindowLatents | None = None
    ) -> None:
        super().__init__(run, network, folder)
        self.encode = encode

    @cached_property
    def flow(self) -> ConditionalFlow:
        """The network with its objective."""
        return ConditionalFlow(self.network, self.compute_dtype, self.run.model.compat)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Move a batch to the device; of videos, their latents."""
        if self.encode is not None and not isinstance(batch, list):
            mesh = self._device_mesh
            shared = mesh is not None and mesh["context"].size() > 1
            batch = self.encode(batch, device, mesh["context"].get_group() if shared else None)
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def inputs(self, batch: Any) -> dict[str, Any]:
        """Return noisy latents, times, text and cameras of a batch, as the network takes them."""
        clips = self._clips(batch)
        sigma, noise, given = self._drawn(clips)
        t = flow_time(sigma)
        return self.flow.inputs(interpolate(clips.latents, noise, t), t, given)

    def step(self, batch: Any) -> dict[str, Tensor]:
        """Return ``velocity_error``, the mean squared error over all frames, and ``loss``, loss_scale times it.

        Conditioning frames count as exact, as published.
        """
        clips = self._clips(batch)
        sigma, noise, given = self._drawn(clips)
        error = self.flow.velocity_loss(clips.latents, noise, sigma, given).mean()
        return {"loss": self.run.model.loss_scale * error, "velocity_error": error}

    def example_batch(self, count: int) -> ExampleBatch:
        """Return ``count`` clips of latents of zeros, with text, rays, control videos and sweeps if the run has any."""
        data = self.run.data
        text = torch.zeros(count, *data.clip_text_shape) if data.text_shape else None
        batch = ExampleBatch(count, latents=torch.zeros(count, *data.clip_shape), text=text, noise_seeds=[0] * count)
        kinds = len(self.run.model.control.kinds)
        if kinds:
            batch.controls = torch.zeros(count, kinds, *data.clip_shape)
        size = self.run.model.sweeps.size
        if size:
            batch.sweep_latents = torch.zeros(count, data.latent_shape[0], data.state_t, *(side // 8 for side in size))
        if self.run.model.rays:
            batch.rays = torch.zeros(count, data.views, *(-(-side // TOKEN_PX) for side in data.size), RAY)
        return batch

    def encode_example(self, ranks: int) -> None:
        """Encode a rank's views with the VAE of the published weights; nothing where latents come from a cache."""
        data = self.run.data
        if not data.vae.checkpoint or data.vae.cache:
            return
        dtype = VAE_DTYPES[data.vae.precision]
        vae = build_vae("wan2_1").to(dtype)
        for _ in range(-(-data.views // ranks)):
            vae.encode(torch.empty(1, 3, data.frames, *data.size, dtype=dtype), data.vae.window)

    def items_per_sample(self) -> int:
        """Return the tokens of one clip."""
        return count_tokens(self.network.config, self.run.data.clip_shape)

    def _clips(self, batch: Any) -> ViewClips:
        return view_clips(batch, self.run.data, self.run.model.rays, bool(self.run.model.control.kinds))

    def _drawn(self, clips: ViewClips) -> tuple[Tensor, Tensor, Condition]:
        """Return noise levels (B,), noise, and the condition of a batch."""
        data = self.run.data
        draws = [self._draw(seed, clips.latents.shape[1:]) for seed in clips.noise_seeds]
        mask = first_frames([draw.given for draw in draws], data.views, data.state_t, clips.latents.device)
        inputs: dict[str, Any] = {"text": None, "fps": clips.fps, "view_indices": clips.view_indices}
        if clips.text is not None:
            kept = torch.tensor([draw.text for draw in draws], device=clips.text.device)
            inputs["text"] = (clips.text * kept[:, None, None]).to(self.compute_dtype)
        if clips.padding_mask is not None:
            inputs["padding_mask"] = clips.padding_mask
        if clips.rays is not None:
            inputs["rays"] = clips.rays
        if clips.controls is not None:
            kept = torch.tensor([draw.controls for draw in draws], device=clips.controls.device)
            inputs["control"] = (clips.controls * kept[:, :, None, None, None, None]).flatten(1, 2)
        if clips.sweeps is not None:
            kept = torch.tensor([draw.sweeps for draw in draws], device=clips.sweeps.device)
            inputs["sweeps"] = clips.sweeps * kept[:, None, None, None, None]
        sigma, noise = (torch.cat([d.sigma for d in draws]), torch.stack([d.noise for d in draws]))
        return sigma, noise, Condition(clips.latents, mask, inputs)

    def _draw(self, seed: int, shape: torch.Size) -> Drawn:
        noise, condition = self.run.model.noise, self.run.model.condition
        rng = np.random.default_rng(seed)
        scale = math.sqrt(self.run.data.state_t) if noise.scale_by_frames else 1.0
        sigma = draw_level(rng, noise.mean, noise.std, scale, noise.high_ratio, noise.high)
        count = draw_count(condition.frames, condition.weights, rng)
        text = bool(rng.random() >= condition.text_dropout)
        control = self.run.model.control
        controls = tuple(bool(chance >= control.dropout) for chance in rng.random(len(control.kinds)))
        on_device = torch.Generator(self.device).manual_seed(seed + 1)
        drawn = torch.randn(shape, generator=on_device, device=self.device)
        sweeps = not self.run.model.sweeps.size or bool(rng.random() >= self.run.model.sweeps.dropout)
        return Drawn(torch.tensor([sigma], device=self.device), count, text, drawn, controls, sweeps)
