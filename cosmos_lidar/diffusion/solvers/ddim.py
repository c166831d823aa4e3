"""DDIM sampler: first order, x0 held over each step (Song et al. 2020, 2010.02502).

It is Euler's method along the straight path x / (1 + sigma) of a rectified flow.
"""

from __future__ import annotations

from cosmos_lidar.diffusion.solvers import Solver
from cosmos_lidar.diffusion.solvers._multistep import hold, multistep

SOLVER = Solver("ddim", "first order; Euler's method along the path of a flow", multistep(hold))
