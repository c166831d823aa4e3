"""Sample with one of the solvers in ``diffusion/solvers``: from noise to a sample through a denoiser x0(x, sigma).

All solve dx / d sigma = (x - x0(x, sigma)) / sigma down a schedule of noise levels; the state is float64 throughout,
and a last evaluation at the lowest level gives the sample.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from cosmos_lidar.diffusion.edm import sigma_ladder
from cosmos_lidar.diffusion.solvers import Solver, find_solver, find_solvers

Denoiser = Callable[[Tensor, Tensor], Tensor]


def __getattr__(name: str) -> dict[str, Solver]:
    """``SOLVERS``: samplers by name, as the files of ``diffusion/solvers`` are at this moment."""
    if name == "SOLVERS":
        return find_solvers()
    raise AttributeError(f"module {__name__} has no attribute {name}")


def exponential_multistep(
    denoise: Denoiser,
    noise: Tensor,
    steps: int = 35,
    sigma_max: float = 80.0,
    sigma_min: float = 0.02,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Sample with the second-order exponential Adams-Bashforth solver ("2ab", the published sampler and settings).

    The first step is Euler; ``steps`` + 1 evaluations are made. See ``solvers/adams_bashforth.py``.

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
    name: str, denoise: Denoiser, noise: Tensor, schedule: Tensor, progress: Callable[[int], None] | None = None
) -> Tensor:
    """Sample with a named solver.

    Args:
        name: of a ``SOLVER`` in ``diffusion/solvers``, with options behind commas (``heun,alpha=0.5``).
        denoise: (x, sigma) -> x0; x shaped as ``noise``, sigma a float64 scalar tensor.
        noise: unit-variance noise.
        schedule: (steps + 1,) descending noise levels.
        progress: called with the index of each finished evaluation.

    Returns:
        The sample, float64, shaped as ``noise``.

    Raises:
        UserError: an unknown solver or option.
    """
    solver, options = find_solver(name)
    schedule = schedule.to(noise.device, torch.float64)
    count = 0

    def counted(x: Tensor, sigma: Tensor) -> Tensor:
        nonlocal count
        x0 = denoise(x, sigma).to(torch.float64)
        count += 1
        if progress:
            progress(count)
        return x0

    x = solver.integrate(counted, noise.to(torch.float64) * schedule[0], schedule, **options)
    return counted(x, schedule[-1])


def evaluations(name: str, steps: int) -> int:
    """Return the number of network evaluations of :func:`solve`.

    Raises:
        UserError: an unknown solver or option.
    """
    return find_solver(name)[0].evaluations(steps)
