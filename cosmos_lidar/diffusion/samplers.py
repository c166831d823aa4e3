"""Deterministic samplers that turn noise into a sample through a denoiser x0(x, sigma).

All solve dx / d sigma = (x - x0(x, sigma)) / sigma over a descending noise schedule; the state is float64, and a
last evaluation at the lowest level gives the sample. Steps are taken in lambda = -ln sigma, h = ln(sigma / target).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cosmos_lidar.diffusion.edm import sigma_ladder
from cosmos_lidar.errors import UserError

Denoiser = Callable[[Tensor, Tensor], Tensor]
_Known = tuple[Tensor, Tensor]  # x0 and its noise level
_Advance = Callable[[Tensor, Tensor, Tensor, Tensor, _Known | None], Tensor]


def exponential_multistep(
    denoise: Denoiser,
    noise: Tensor,
    steps: int = 35,
    sigma_max: float = 80.0,
    sigma_min: float = 0.02,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Sample with the second-order exponential Adams-Bashforth solver ("2ab", the published sampler and settings).

    The first step is Euler; ``steps`` + 1 evaluations are made. The update is
    x' = e^-h x + h ((p1 - p2 / c2) x0 + p2 / c2 x0_previous), p1 = (1 - e^-h) / h, p2 = (1 - p1) / h (exponential
    integrators; Hochbruck and Ostermann 2010, Acta Numerica 19).

    Args:
        denoise: (x, sigma) -> x0; x shaped as ``noise``, sigma a float64 scalar tensor.
        noise: unit-variance noise.
        steps: solver steps.
        sigma_max: noise level at the start.
        sigma_min: noise level of the last evaluation.
        progress: called with the index of each finished evaluation.
    """
    return solve("2ab", denoise, noise, sigma_ladder(steps, sigma_max, sigma_min), progress)


def solve(
    name: str, denoise: Denoiser, noise: Tensor, ladder: Tensor, progress: Callable[[int], None] | None = None
) -> Tensor:
    """Sample with a named solver.

    ``2ab``: see :func:`exponential_multistep`. ``ddim``: first order, the same with x0 held over each step (Song et al.
    2020, arXiv 2010.02502), which is Euler along the straight path x / (1 + sigma) of a flow. ``dpm++2m``: second
    order, x0 extrapolated to the middle of the step (Lu et al. 2022, arXiv 2211.01095). ``heun``: second order with
    two evaluations a step (Karras et al. 2022, algorithm 1).

    Args:
        name: of the solver.
        denoise: (x, sigma) -> x0; x shaped as ``noise``, sigma a float64 scalar tensor.
        noise: unit-variance noise.
        ladder: (steps + 1,) descending noise schedule.
        progress: called with the index of each finished evaluation.

    Returns:
        The sample, float64, shaped as ``noise``.

    Raises:
        UserError: an unknown solver.
    """
    if name not in SOLVERS:
        raise UserError(f"sampler {name!r}; valid: {', '.join(SOLVERS)}")
    ladder = ladder.to(noise.device, torch.float64)
    count = 0

    def counted(x: Tensor, sigma: Tensor) -> Tensor:
        nonlocal count
        x0 = denoise(x, sigma).to(torch.float64)
        count += 1
        if progress:
            progress(count)
        return x0

    x = SOLVERS[name](counted, noise.to(torch.float64) * ladder[0], ladder)
    return counted(x, ladder[-1])


def evaluations(name: str, steps: int) -> int:
    """Return the number of network evaluations of :func:`solve`."""
    return (2 * steps if name == "heun" else steps) + 1


def _multistep(advance: _Advance) -> Callable[[Denoiser, Tensor, Tensor], Tensor]:
    def run(denoise: Denoiser, x: Tensor, ladder: Tensor) -> Tensor:
        previous: _Known | None = None
        for sigma, target in zip(ladder[:-1], ladder[1:], strict=True):
            x0 = denoise(x, sigma)
            x = advance(x, x0, sigma, target, previous)
            previous = (x0, sigma)
        return x

    return run


def _hold(x: Tensor, x0: Tensor, sigma: Tensor, target: Tensor, _: _Known | None = None) -> Tensor:
    """Take an exact step to ``target`` with x0 held constant."""
    ratio = target / sigma
    return (1 - ratio) * x0 + ratio * x


def _adams_bashforth(x: Tensor, x0: Tensor, sigma: Tensor, target: Tensor, previous: _Known | None) -> Tensor:
    if previous is None:
        return _hold(x, x0, sigma, target)
    x0_previous, sigma_previous = previous
    h = (sigma / target).log()
    c2 = -(sigma_previous / sigma).log() / h
    p1 = torch.expm1(-h) / -h
    p2 = (p1 - 1) / -h
    return (-h).exp() * x + h * ((p1 - p2 / c2) * x0 + (p2 / c2) * x0_previous)


def _dpm_2m(x: Tensor, x0: Tensor, sigma: Tensor, target: Tensor, previous: _Known | None) -> Tensor:
    if previous is None:
        return _hold(x, x0, sigma, target)
    x0_previous, sigma_previous = previous
    share = (sigma / target).log() / (2 * (sigma_previous / sigma).log())
    return _hold(x, (1 + share) * x0 - share * x0_previous, sigma, target)


def _heun(denoise: Denoiser, x: Tensor, ladder: Tensor) -> Tensor:
    for sigma, target in zip(ladder[:-1], ladder[1:], strict=True):
        slope = (x - denoise(x, sigma)) / sigma
        ahead = x + (target - sigma) * slope
        x = x + (target - sigma) * (slope + (ahead - denoise(ahead, target)) / target) / 2
    return x


SOLVERS: dict[str, Callable[[Denoiser, Tensor, Tensor], Tensor]] = {
    "2ab": _multistep(_adams_bashforth),
    "dpm++2m": _multistep(_dpm_2m),
    "ddim": _multistep(_hold),
    "heun": _heun,
}
