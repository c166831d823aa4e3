"""Training targets of a denoiser: EDM, or flow (rectified-flow velocity).

Both are written as x0 = skip * x + out * network(in_ * x, noise) of x = x0 + sigma * noise, so that they share
denoiser and samplers.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from cosmos_lidar.diffusion.edm import Preconditioning, loss_weight, precondition
from cosmos_lidar.errors import UserError

_TIMESTEPS = 1000.0  # scales flow times to the range of the sinusoidal time embedding


class _PerLevel(Protocol):
    def __call__(self, sigma: Tensor) -> Tensor: ...


class _Precondition(Protocol):
    def __call__(self, sigma: Tensor) -> Preconditioning: ...


class Objective(NamedTuple):
    """A training target: preconditioning of the network and loss weight of the error of x0 at a noise level."""

    precondition: _Precondition
    loss_weight: _PerLevel


def flow_time(sigma: Tensor) -> Tensor:
    """Return t = sigma / (1 + sigma), where x_t = (1 - t) x0 + t noise is x / (1 + sigma)."""
    return sigma / (1.0 + sigma)


def precondition_flow(sigma: Tensor) -> Preconditioning:
    """Return the coefficients of a network that predicts noise - x0 at x_t (Liu et al. 2022, arXiv 2209.03003)."""
    t = flow_time(sigma)
    return Preconditioning(skip=1.0 - t, out=-t, in_=1.0 - t, noise=_TIMESTEPS * t)


def flow_loss_weight(sigma: Tensor) -> Tensor:
    """Return 1 / t^2, which makes the squared error of x0 that of the velocity."""
    return flow_time(sigma) ** -2


def make_objective(name: str, sigma_data: float = 0.5) -> Objective:
    """Return ``edm`` (Karras et al. 2022) or ``flow``.

    With ln sigma ~ N(m, s^2), times of the flow are logit-normal (Esser et al. 2024, arXiv 2403.03206).

    Args:
        name: of the objective.
        sigma_data: standard deviation of the data, for ``edm``.

    Raises:
        UserError: another name.
    """
    if name == "flow":
        return Objective(precondition_flow, flow_loss_weight)
    if name == "edm":
        return Objective(lambda sigma: precondition(sigma, sigma_data), lambda sigma: loss_weight(sigma, sigma_data))
    raise UserError(f"objective {name!r}; valid: edm, flow")


def flow_ladder(steps: int, sigma_max: float = 80.0, sigma_min: float = 0.02, shift: float = 1.0) -> Tensor:
    """Return the flow noise schedule: (steps + 1,) float64, evenly spaced in t; a shift above 1 favors high noise.

    Shifted times are shift t / (1 + (shift - 1) t).
    """
    first, last = (level / (1.0 + level) for level in (sigma_max, sigma_min))
    t = torch.linspace(first, last, steps + 1, dtype=torch.float64)
    sigma = shift * t / (1.0 - t)  # t' / (1 - t') of the shifted time
    return sigma.clamp(sigma_min, sigma_max)
