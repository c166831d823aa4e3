"""EDM preconditioning and losses (Karras et al. 2022, arXiv 2206.00364) with the settings of Cosmos-Predict1."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Preconditioning(NamedTuple):
    """Coefficients for one noise level: x0 = skip * x + out * network(in_ * x, noise)."""

    skip: Tensor
    out: Tensor
    in_: Tensor
    noise: Tensor


def precondition(sigma: Tensor, sigma_data: float = 0.5) -> Preconditioning:
    """Return the coefficients for noise levels ``sigma`` (any shape)."""
    variance = sigma**2 + sigma_data**2
    return Preconditioning(
        skip=sigma_data**2 / variance,
        out=sigma * sigma_data / variance.sqrt(),
        in_=1.0 / variance.sqrt(),
        noise=0.25 * sigma.log(),
    )


def loss_weight(sigma: Tensor, sigma_data: float = 0.5) -> Tensor:
    """Return the EDM loss weight of the squared error of x0, which balances noise levels at initialization."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def draw_sigma(count: int, generator: torch.Generator | None = None, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Return (count,) log-normal noise levels: ln sigma ~ N(mean, std^2)."""
    return (mean + std * torch.randn(count, generator=generator)).exp()


def sigma_ladder(steps: int, sigma_max: float = 80.0, sigma_min: float = 0.02, rho: float = 7.0) -> Tensor:
    """Return the EDM noise schedule (steps + 1,) float64, from sigma_max down, evenly spaced in sigma^(1 / rho)."""
    position = torch.arange(steps + 1, dtype=torch.float64) / steps
    top, bottom = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return (top + position * (bottom - top)) ** rho
