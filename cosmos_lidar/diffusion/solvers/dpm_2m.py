"""DPM-Solver++(2M) sampler: second order, x0 led on linearly to the middle of the step (Lu et al. 2022, 2211.01095)."""

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
    share = (sigma / target).log() / (2 * (sigma_previous / sigma).log())
    return hold(x, (1 + share) * x0 - share * x0_previous, sigma, target)


SOLVER = Solver("dpm++2m", "second order, DPM-Solver++ with two past steps", multistep(advance))
