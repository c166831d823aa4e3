"""Samplers of diffusion models, one file each: a file in this folder that has ``SOLVER`` is found, nothing is edited.

A solver goes from noise to a sample along dx / d sigma = (x - x0(x, sigma)) / sigma, down a noise schedule. The files
import torch for types only and use methods of tensors: ``--help`` lists the solvers, and must not wait for torch.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cosmos_lidar.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    Denoiser = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Solver:
    """A sampler.

    Attributes:
        name: as it is written in options.
        help: order, and where it is from, in a few words.
        integrate: (denoise, x, schedule, **options) -> x at the last noise level. denoise(x, sigma) gives x0; x is
            float64, noise times the first level; schedule (steps + 1,) holds descending noise levels, float64.
        evaluations_per_step: network evaluations of ``integrate`` per step.
        options: what can be set, with the defaults; passed to ``integrate`` by name.
    """

    name: str
    help: str
    integrate: Callable[..., Tensor]
    evaluations_per_step: int = 1
    options: Mapping[str, float] = field(default_factory=dict)

    def evaluations(self, steps: int) -> int:
        """Return how often the network is asked for a sample: in each step, and once more at the last noise level."""
        return self.evaluations_per_step * steps + 1


def find_solvers() -> dict[str, Solver]:
    """Return the samplers of the files in this folder, by name."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_"))
    solvers = [importlib.import_module(f"{__name__}.{name}").SOLVER for name in names]
    return {solver.name: solver for solver in solvers}


def find_solver(text: str) -> tuple[Solver, dict[str, float]]:
    """Return the sampler that ``NAME`` or ``NAME,option=value`` names, and all its options.

    Raises:
        UserError: no such sampler or option, or a value that is not a number.
    """
    name, *settings = text.split(",")
    solvers = find_solvers()
    if name not in solvers:
        raise UserError(f"unknown sampler {name!r}; valid: {', '.join(solvers)}")
    options = dict(solvers[name].options)
    for setting in settings:
        key, _, value = setting.partition("=")
        if key not in options:
            raise UserError(f"sampler {name} has no option {key!r}; valid: {', '.join(options) or 'none'}")
        try:
            options[key] = float(value)
        except ValueError:
            raise UserError(f"sampler {text}: {key}: expected a number, got {value!r}") from None
    return solvers[name], options
