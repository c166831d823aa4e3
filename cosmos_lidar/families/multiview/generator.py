"""Sample videos of several views with a trained network: conditioning frames and text in, images out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cosmos_lidar.diffusion.conditional_flow import (
    SIGMA_MAX,
    SIGMA_MIN,
    Condition,
    ConditionalFlow,
    first_frames,
    seeded_noise,
)
from cosmos_lidar.diffusion.edm import sigma_ladder
from cosmos_lidar.diffusion.samplers import solve
from cosmos_lidar.diffusion.solvers import find_solver
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.multiview.config import MultiviewDataConfig, MultiviewTrainConfig
from cosmos_lidar.families.multiview.inputs import ViewInput
from cosmos_lidar.latents.video_space import VideoLatentSpace, open_video_space
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.lora import merge_lora
from cosmos_lidar.models.dit.lora_files import load_lora
from cosmos_lidar.models.dit.weights import load_dit_weights
from cosmos_lidar.parallel.apply import share_samples
from cosmos_lidar.parallel.work_sharing import Share

_PER_LATENT = 4  # frames of a latent, after the first one


@dataclass(frozen=True)
class ViewSampling:
    """How videos are sampled; defaults are the published ones.

    Attributes:
        steps: of the solver.
        guidance: g of c + g (c - u).
        conditional: conditioning frames of each view: 0, 1, 5, 9, …
        segments: clips that are chained: each begins with the last frames of the one before.
        sampler: ``SOLVER`` of a file in ``diffusion/solvers``, by name; options behind commas.
        sigma_max: noise level at the start.
        sigma_min: noise level of the last evaluation.
    """

    steps: int = 35
    guidance: float = 7.0
    conditional: int = 1
    segments: int = 1
    sampler: str = "2ab"
    sigma_max: float = SIGMA_MAX
    sigma_min: float = SIGMA_MIN

    def __post_init__(self) -> None:
        """Refuse impossible values."""
        if self.steps < 1 or not 0 < self.sigma_min < self.sigma_max:
            raise UserError(f"{self.steps} steps from a noise level of {self.sigma_max} to {self.sigma_min}")
        if self.conditional < 0 or (self.conditional and (self.conditional - 1) % _PER_LATENT):
            raise UserError(f"{self.conditional} conditioning frames; valid: 0, 1, 5, 9, …, 1 + 4 k")
        if self.segments < 1 or (self.segments > 1 and not self.conditional):
            raise UserError(f"{self.segments} segments: expected 1, or more with conditioning frames to chain them by")
        find_solver(self.sampler)

    @property
    def conditional_latents(self) -> int:
        """Conditioning latent frames of each view."""
        return 1 + (self.conditional - 1) // _PER_LATENT if self.conditional else 0

    def total_frames(self, frames: int) -> int:
        """Return the frames of a chain of clips of ``frames`` each, which share their conditioning frames."""
        return frames + (self.segments - 1) * (frames - self.conditional)


_CPU = torch.device("cpu")


@dataclass(frozen=True)
class ViewGenerator:
    """Conditioning frames and text in, videos of all views out.

    Attributes:
        flow: the trained network.
        space: latent space of the videos.
        data: options of the run: views, shapes.
        sampling: see there.
        device: of the network.
        negative: (V L, D) text to move away from; None: no text.
        controls: kinds of control videos that the network takes, in its order.
        sweeps: (rows, columns) of the range images that the network takes; empty for none.
    """

    flow: ConditionalFlow
    space: VideoLatentSpace
    data: MultiviewDataConfig
    sampling: ViewSampling
    device: torch.device = _CPU
    negative: Tensor | None = None
    controls: tuple[str, ...] = ()
    sweeps: tuple[int, ...] = ()

    def __call__(
        self, given: ViewInput, seed: int, fps: float = 0.0, progress: Callable[[int], None] | None = None
    ) -> Tensor:
        """Return (V, 3, T, H, W) uint8, conditioning frames included as the VAE reconstructs them.

        Segment n is sampled from noise of seed + n, which is drawn on the CPU for the whole clip: it is the same for
        any number of ranks.

        Args:
            given: conditioning frames and text.
            seed: of the sample.
            fps: frame rate for the network; 0 for that of ``given``.
            progress: called with the number of finished evaluations of the network.

        Raises:
            DataError: fewer frames than are to condition on, or of another size; control videos that the network does
                not take, or that are shorter than the result.
        """
        self._check_controls(given)
        overlap, parts = self.sampling.conditional, []
        condition = self._checked(given)
        for segment in range(self.sampling.segments):
            part = self._part(given, segment * (self.data.frames - overlap))
            video = self._images(self._sample(condition, part, fps or given.fps, seed + segment, progress))
            parts.append(video[:, :, overlap if segment else 0 :])
            condition = video[:, :, video.shape[2] - overlap :]
        return torch.cat(parts, dim=2)

    def _part(self, given: ViewInput, first: int) -> ViewInput:
        """Return the input of a clip of the chain, with control videos and sweeps from frame ``first`` on."""
        part = slice(first, first + self.data.frames)
        controls = {kind: video[:, :, part] for kind, video in given.controls.items()}
        sweeps = None if given.sweeps is None else given.sweeps[:, :, part]
        return replace(given, controls=controls, sweeps=sweeps)

    def _checked(self, given: ViewInput) -> Tensor:
        count, views = self.sampling.conditional, self.data.views
        frames = given.frames[:, :, :count]
        if len(frames) != views or frames.shape[2] < count or tuple(frames.shape[3:]) != self.data.size:
            found = f"{len(frames)} views of {frames.shape[2]} frames of {tuple(frames.shape[3:])}"
            raise DataError(found, clip=given.name, wanted=f"{views} views of {count} frames of {self.data.size}")
        return frames

    def _sample(
        self, frames: Tensor, given: ViewInput, fps: float, seed: int, progress: Callable[[int], None] | None
    ) -> Tensor:
        """Return normalized latents (C, V t, h, w)."""
        data, count = self.data, self.sampling.conditional_latents
        latents = torch.zeros(1, *data.clip_shape)
        if count:
            encoded = self.space.encode(frames).unflatten(1, (data.views, count))
            latents.unflatten(2, (data.views, data.state_t))[0, :, :, :count] = encoded
        ids = torch.tensor([data.view_ids], device=self.device).repeat_interleave(data.state_t, dim=1)
        mask = first_frames([count], data.views, data.state_t, self.device)
        inputs = {"fps": [fps], "view_indices": ids, "text": self._text(given.text)}
        inputs |= self._rays(given) | self._control(given) | self._sweeps(given)
        condition = Condition(latents.to(self.device), mask, inputs)
        other = condition.with_inputs(text=self._text(self.negative)) if self.sampling.guidance else None
        denoise = self.flow.denoiser(condition, other, self.sampling.guidance)
        options = self.sampling
        schedule = sigma_ladder(options.steps, options.sigma_max, options.sigma_min)
        noise = seeded_noise(seed, latents.shape).to(self.device)
        return solve(options.sampler, denoise, noise, schedule, progress)[0].float()

    def _check_controls(self, given: ViewInput) -> None:
        unknown = next((kind for kind in given.controls if kind not in self.controls), None)
        if unknown is not None:
            wanted = f"those of the training (model.control.kinds): {', '.join(self.controls) or 'none'}"
            raise DataError(f"control videos {unknown!r}", clip=given.name, wanted=wanted)
        total = self.sampling.total_frames(self.data.frames)
        short = next((kind for kind, video in given.controls.items() if video.shape[2] < total), None)
        if short is not None:
            found = f"{given.controls[short].shape[2]} frames of control videos {short!r}"
            wanted = f"{total} for {self.sampling.segments} clips of {self.data.frames}"
            raise DataError(found, clip=given.name, wanted=wanted)
        network: Any = self.flow.network
        if given.sweeps is not None and (not network.config.sweep_channels or given.sweeps.shape[2] < total):
            wanted = f"{total} for a network that takes them (model.sweeps.size)"
            raise DataError(f"range images of {given.sweeps.shape[2]} moments", clip=given.name, wanted=wanted)

    def _control(self, given: ViewInput) -> dict[str, Tensor]:
        """Return the latents of the control videos as an argument of the network, zeros for kinds that are left out."""
        if not given.controls:
            return {}
        none = torch.zeros(self.data.clip_shape)
        encoded = {kind: self.space.encode(video).cpu() for kind, video in given.controls.items()}
        return {"control": torch.cat([encoded.get(kind, none) for kind in self.controls])[None].to(self.device)}

    def _sweeps(self, given: ViewInput) -> dict[str, Tensor]:
        """Return the latents of the range images as an argument of the network; nothing where there are none."""
        if given.sweeps is None:
            return {}
        return {"sweeps": self.space.encode(given.sweeps)[None].to(self.device)}

    def _rays(self, given: ViewInput) -> dict[str, Tensor]:
        """Return the rays of the cameras as an argument of the network; nothing where it takes none."""
        network: Any = self.flow.network
        if not network.config.ray_channels:
            return {}
        if given.rays is None:
            wanted = "--data of calibrated cameras, or --rig: the network is ray-conditioned"
            raise DataError("no rays of the cameras", clip=given.name, wanted=wanted)
        return {"rays": given.rays[None].to(self.device).repeat_interleave(self.data.state_t, dim=1)}

    def _text(self, text: Tensor | None) -> Tensor | None:
        if text is None:
            return None
        return text[None].to(self.device, self.flow.compute_dtype)

    def _images(self, latents: Tensor) -> Tensor:
        """Return (V, 3, T, H, W) uint8 of latents, as published: (x + 1) / 2, clamped, 255 x + 0.5 truncated."""
        video = self.space.decode(latents, self.data.views)
        return video.add_(1).div_(2).clamp_(0, 1).mul_(255).add_(0.5).to(torch.uint8)


def find_configuration(checkpoint: Path, config: Path | None = None) -> Path | None:
    """Return the configuration of the run that a checkpoint is of: given, beside it, or ``config.yaml`` above it."""
    from cosmos_lidar.training.overrides import config_beside

    if config is not None or (config := config_beside(checkpoint)) is not None:
        return config
    folders = [checkpoint.parent, *checkpoint.resolve().parents[1:5]]
    return next((folder / "config.yaml" for folder in folders if (folder / "config.yaml").is_file()), None)


@torch.no_grad()
def open_view_generator(
    checkpoint: Path,
    run: MultiviewTrainConfig,
    *,
    vae: Path | str,
    sampling: ViewSampling,
    ema: bool = False,
    adapters: Sequence[Path] = (),
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    share: Share | None = None,
    tile: int | None = None,
    negative: Tensor | None = None,
) -> ViewGenerator:
    """Return the generator of a checkpoint.

    Args:
        checkpoint: ``.pt`` or ``.safetensors`` with the published names.
        run: configuration of its training: shape of the network, views, text.
        vae: Wan2.1 VAE; computes in fp32.
        sampling: see :class:`ViewSampling`.
        ema: take the EMA weights of a checkpoint that holds both.
        adapters: low-rank updates in PEFT's names, added one after the other and merged.
        device: to compute on.
        dtype: of the network; the state of the sampler is float64.
        share: ranks that compute each clip together.
        tile: side of the VAE's tiles in pixels; None for whole images.
        negative: (V L, D) text to move away from; None: no text.

    Raises:
        DataError: a file is missing, or holds the weights or adapters of another network.
        UserError: ranks that cannot share a clip.
    """
    from cosmos_lidar.latents.video_space import VideoEncoding

    if sampling.conditional_latents >= run.data.state_t:
        raise UserError(f"{sampling.conditional} conditioning frames of {run.data.frames}: expected fewer")
    if not checkpoint.exists():
        raise DataError("no such file", file=checkpoint, wanted="iter_N.pt of a run, model.pt or safetensors")
    with torch.device("meta"):  # random weights would only be thrown away
        network = build_dit(run.model.name, **run.shape())
    load_dit_weights(network, checkpoint, ema)
    for number, adapter in enumerate(adapters):
        load_lora(network, adapter, f"adapter{number}")
    network = merge_lora(network).to(device, dtype).eval().requires_grad_(False)
    if share is not None and share.context is not None:
        share_samples(network, share.context)
    space = open_video_space(vae, device=device, encoding=VideoEncoding(tile=tile))
    flow, controls = ConditionalFlow(network, dtype, run.model.compat), tuple(run.model.control.kinds)
    sweeps = tuple(run.model.sweeps.size)
    return ViewGenerator(flow, space, run.data, sampling, torch.device(device), negative, controls, sweeps)
