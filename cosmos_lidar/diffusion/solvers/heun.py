"""Heun sampler of EDM: second order, two evaluations a step (Karras et al. 2022, 2206.00364, algorithm 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmos_lidar.diffusion.solvers import Solver

if TYPE_CHECKING:
    from torch import Tensor

    from cosmos_lidar.diffusion.solvers import Denoiser


def integrate(denoise: Denoiser, x: Tensor, schedule: Tensor, alpha: float = 1.0) -> Tensor:
    """Return x at the last noise level.

    Args:
        denoise: (x, sigma) -> x0.
        x: noise times the first level, float64.
        schedule: (steps + 1,) descending noise levels.
        alpha: where in the step the second evaluation is: 1 at its end (Heun), 0.5 in the middle (midpoint rule).
    """
    for sigma, target in zip(schedule[:-1], schedule[1:], strict=True):
        slope = (x - denoise(x, sigma)) / sigma
        between = target if alpha == 1 else sigma + alpha * (target - sigma)
        ahead = x + (between - sigma) * slope
        second = (ahead - denoise(ahead, between)) / between
        x = x + (target - sigma) * ((1 - 0.5 / alpha) * slope + (0.5 / alpha) * second)
    return x


SOLVER = Solver("heun", "second order, two evaluations a step", integrate, 2, {"alpha": 1.0})
