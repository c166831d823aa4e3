"""Multistep samplers: one evaluation per step, each led on by what the step before it found."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from cosmos_lidar.diffusion.solvers import Denoiser

    Known = tuple[Tensor, Tensor]  # x0 and its noise level
    Advance = Callable[[Tensor, Tensor, Tensor, Tensor, Known | None], Tensor]


def multistep(advance: Advance) -> Callable[[Denoiser, Tensor, Tensor], Tensor]:
    """Return the solver whose steps are ``advance(x, x0, sigma, target, previous)``; previous is None at the first."""

    def integrate(denoise: Denoiser, x: Tensor, schedule: Tensor) -> Tensor:
        previous: Known | None = None
        for sigma, target in zip(schedule[:-1], schedule[1:], strict=True):
            x0 = denoise(x, sigma)
            x = advance(x, x0, sigma, target, previous)
            previous = (x0, sigma)
        return x

    return integrate


def hold(x: Tensor, x0: Tensor, sigma: Tensor, target: Tensor, _: Known | None = None) -> Tensor:
    """Return x at noise level ``target``, exactly as if x0 did not change."""
    ratio = target / sigma
    return (1 - ratio) * x0 + ratio * x
