"""EDM denoiser with conditioning frames: noised at sigma_aug on input, copied to the output.

The conditioning frames are z0 + sigma_aug noise, scaled by c_in(sigma_aug) whatever the noise level of the generated
frames; sigma_aug is no input of the network (Cosmos-Transfer-LidarGen, "noise_with_sigma").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cosmos_lidar.diffusion.objective import make_objective
from cosmos_lidar.families.lidargen.canvas import CanvasLayout

AUG_MEAN, AUG_STD = -3.0, 2.0  # of ln sigma_aug
_SHAPE = (-1, 1, 1, 1, 1)


class LidarGenDenoiser(nn.Module):
    """x0 of a canvas from its noisy version.

    Args:
        network: (x, timesteps, text, condition_mask) -> raw output, shaped as x.
        layout: of the canvas.
        sigma_data: standard deviation of the latents, for the objective ``edm``.
        compute_dtype: in which the network computes.
        objective: ``edm`` (published) or ``flow``, as the network was trained.
        dense: tokens of unfilled parts of the canvas are left out of the sequence.
    """

    network: Any  # torch's attributes are tensors or modules to a type checker

    def __init__(
        self,
        network: nn.Module,
        layout: CanvasLayout,
        sigma_data: float = 0.5,
        compute_dtype: torch.dtype = torch.float32,
        objective: str = "edm",
        dense: bool = False,
    ) -> None:
        super().__init__()
        self.network, self.layout, self.compute_dtype = network, layout, compute_dtype
        self.objective = make_objective(objective, sigma_data)
        self.kept = layout.kept() if dense else None

    def forward(
        self,
        noisy: Tensor,
        sigma: Tensor,
        canvas: Tensor,
        sigma_aug: Tensor,
        noise: Tensor,
        rays: Tensor | None = None,
    ) -> Tensor:
        """Return x0 (B, C, 1 + views, H, W), with the given slots as they are in ``canvas``.

        Args:
            noisy: canvas plus noise of standard deviation ``sigma``; its given slots are not looked at.
            sigma: (B,).
            canvas: holds the given slots; the others are not looked at.
            sigma_aug: (B,) noise of the given slots.
            noise: unit-variance noise for them, shaped as the canvas.
            rays: (B, 1 + views, rows, columns of tokens, 6), for a network of rays.
        """
        x, given = self._conditioned(noisy, sigma, canvas, sigma_aug, noise), self.layout.given(canvas)
        raw = self.network(**self._network_inputs(x, sigma, given, rays))
        outer = self.objective.precondition(sigma)
        x0 = outer.skip.view(_SHAPE) * x + outer.out.view(_SHAPE) * raw.to(x.dtype)
        return given * canvas + (1.0 - given) * x0

    def inputs(
        self,
        noisy: Tensor,
        sigma: Tensor,
        canvas: Tensor,
        sigma_aug: Tensor,
        noise: Tensor,
        rays: Tensor | None = None,
    ) -> dict[str, Any]:
        """Return the keyword arguments of the network; arguments as those of :meth:`forward`."""
        x = self._conditioned(noisy, sigma, canvas, sigma_aug, noise)
        return self._network_inputs(x, sigma, self.layout.given(canvas), rays)

    def _conditioned(self, noisy: Tensor, sigma: Tensor, canvas: Tensor, sigma_aug: Tensor, noise: Tensor) -> Tensor:
        """Put the given slots, noised and scaled, into the noisy canvas."""
        outer, inner = (self.objective.precondition(level) for level in (sigma, sigma_aug))
        given = self.layout.given(canvas)
        ratio = (inner.in_ / outer.in_).view(_SHAPE)
        condition = (canvas + sigma_aug.view(_SHAPE) * noise) * ratio
        return given * condition + (1.0 - given) * noisy

    def _network_inputs(self, x: Tensor, sigma: Tensor, given: Tensor, rays: Tensor | None) -> dict[str, Any]:
        outer = self.objective.precondition(sigma)
        mask = given.expand(len(x), 1, *x.shape[2:])
        scaled = (outer.in_.view(_SHAPE) * x).to(self.compute_dtype)
        options: dict[str, Any] = {"timesteps": outer.noise, "text": None}
        if rays is not None:
            options["rays"] = rays
        if self.kept is not None:
            used = self.layout.used(scaled)
            scaled, mask = scaled * used, mask * used
            options["kept"] = self.kept.to(x.device)
        return {"x": scaled, "condition_mask": mask.to(self.compute_dtype), **options}


def draw_sigma_aug(count: int, generator: torch.Generator | None = None) -> Tensor:
    """Return (count,) noise levels of the given slots: ln sigma_aug ~ N(-3, 2^2)."""
    return (AUG_MEAN + AUG_STD * torch.randn(count, generator=generator)).exp()


def sample_lidar(
    denoiser: LidarGenDenoiser,
    images: Tensor,
    sampler: Callable[[Callable[[Tensor, Tensor], Tensor], Tensor], Tensor],
    seeds: list[int],
    rays: Tensor | None = None,
    condition_sigma: float | None = None,
) -> Tensor:
    """Return latents (B, C, rows, columns) of range maps that fit the images.

    A sample depends on its own seed alone: not on the others of the batch, and the same seed gives the same sample
    (published: new noise of the condition is drawn at each evaluation).

    Args:
        denoiser: the trained network.
        images: (B, views, C, rows, columns) latents of the images, normalized.
        sampler: (x0 of (x, sigma), unit-variance noise) -> sample, such as ``exponential_multistep``.
        seeds: one for each sample.
        rays: (B, 1 + views, rows, columns of tokens, 6), for a network of rays.
        condition_sigma: noise level of the images; None draws it, as in training and as published.
    """
    layout, device = denoiser.layout, images.device
    count, channels = len(images), images.shape[2]
    empty = images.new_zeros(count, channels, *layout.lidar)
    canvas = layout.place(empty, images)
    start, noise, sigma_aug = (torch.stack(parts).to(device) for parts in zip(*map(_draws(canvas), seeds), strict=True))
    if condition_sigma is not None:
        sigma_aug = torch.full_like(sigma_aug, condition_sigma)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        levels = sigma.to(device=device, dtype=canvas.dtype).expand(count)
        return denoiser(x.to(canvas.dtype), levels, canvas, sigma_aug, noise, rays)

    with torch.no_grad():
        made = sampler(denoise, start)
    return layout.lidar_of(made).to(images.dtype)


def _draws(canvas: Tensor) -> Callable[[int], tuple[Tensor, Tensor, Tensor]]:
    """Return what a seed gives: noise to start from, noise of the condition, and its level."""

    def draw(seed: int) -> tuple[Tensor, Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        start, noise = (torch.randn(canvas.shape[1:], generator=generator) for _ in range(2))
        return start, noise, draw_sigma_aug(1, generator)[0]

    return draw
