"""Deterministic samplers that turn noise into a sample through a denoiser x0(x, sigma)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cosmos_lidar.diffusion.edm import sigma_ladder

Denoiser = Callable[[Tensor, Tensor], Tensor]


def exponential_multistep(
    denoise: Denoiser,
    noise: Tensor,
    steps: int = 35,
    sigma_max: float = 80.0,
    sigma_min: float = 0.02,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Sample with the second-order exponential Adams-Bashforth solver ("2ab", the published sampler).

    The state is float64 throughout; the first step is Euler; a last evaluation at ``sigma_min`` gives the sample, so
    that ``steps`` + 1 evaluations are made. With lambda = -ln sigma and step h the update is
    x' = e^-h x + h ((p1 - p2 / c2) x0 + p2 / c2 x0_previous), p1 = (1 - e^-h) / h, p2 = (1 - p1) / h (exponential
    integrators; Hochbruck and Ostermann 2010, Acta Numerica 19).

    Args:
        denoise: (x, sigma) -> x0; x shaped as ``noise``, sigma a float64 scalar tensor.
        noise: unit-variance noise.
        steps: solver steps.
        sigma_max: noise level at the start.
        sigma_min: noise level of the last evaluation.
        progress: called with the number of each finished evaluation.
    """
    ladder = sigma_ladder(steps, sigma_max, sigma_min).to(noise.device)
    x = noise.to(torch.float64) * sigma_max
    previous: tuple[Tensor, Tensor] | None = None
    for index in range(steps):
        sigma, target = ladder[index], ladder[index + 1]
        x0 = denoise(x, sigma).to(torch.float64)
        x = _advance(x, x0, sigma, target, previous)
        previous = (x0, sigma)
        if progress:
            progress(index + 1)
    return denoise(x, ladder[-1]).to(torch.float64)


def _advance(x: Tensor, x0: Tensor, sigma: Tensor, target: Tensor, previous: tuple[Tensor, Tensor] | None) -> Tensor:
    if previous is None:
        ratio = target / sigma
        return (1 - ratio) * x0 + ratio * x
    x0_previous, sigma_previous = previous
    h = (sigma / target).log()
    c2 = -(sigma_previous / sigma).log() / h
    p1 = torch.expm1(-h) / -h
    p2 = (p1 - 1) / -h
    return (-h).exp() * x + h * ((p1 - p2 / c2) * x0 + (p2 / c2) * x0_previous)
