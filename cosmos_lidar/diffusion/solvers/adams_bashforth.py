"""Exponential Adams-Bashforth sampler of second order, "2ab": the published sampler of the Cosmos diffusion models.

The first step is Euler. Steps are taken in lambda = -ln sigma with h = ln(sigma / target):
x' = e^-h x + h ((p1 - p2 / c2) x0 + p2 / c2 x0_previous), p1 = (1 - e^-h) / h, p2 = (1 - p1) / h (exponential
integrators; Hochbruck and Ostermann 2010, Acta Numerica 19).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cosmos_lidar.diffusion.solvers import Solver
from cosmos_lidar.diffusion.solvers._multistep import hold, multistep

if TYPE_CHECKING:
    from torch import Tensor


def advance(x: Tensor, x0: Tensor, sigma: Tensor, target: Tensor, previous: tuple[Tensor, Tensor] | None) -> Tensor:
    """Return x at noise level ``target``."""
    if previous is None:
        return hold(x, x0, sigma, target)
    x0_previous, sigma_previous = previous
    h = (sigma / target).log()
    c2 = -(sigma_previous / sigma).log() / h
    p1 = (-h).expm1() / -h
    p2 = (p1 - 1) / -h
    return (-h).exp() * x + h * ((p1 - p2 / c2) * x0 + (p2 / c2) * x0_previous)


SOLVER = Solver("2ab", "second order, exponential Adams-Bashforth; published", multistep(advance))
