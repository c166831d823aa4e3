"""Loss weights that change with the step."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from cosmos_lidar.errors import UserError


def piecewise_constant(step: int, boundaries: Sequence[int], values: Sequence[float]) -> float:
    """Return values[k] for the first k with step < boundaries[k], and the last value after all of them.

    Args:
        step: optimizer step.
        boundaries: increasing steps at which the value changes.
        values: one more than boundaries.

    Raises:
        UserError: another number of values, or boundaries that do not increase.
    """
    if len(values) != len(boundaries) + 1:
        raise UserError(f"{len(values)} values for {len(boundaries)} boundaries: expected one more value")
    if list(boundaries) != sorted(boundaries):
        raise UserError(f"boundaries {list(boundaries)}: they must rise")
    return values[bisect_right(boundaries, step)]


@dataclass(frozen=True)
class Weight:
    """A weight that changes once.

    Attributes:
        early: before ``boundary``.
        late: from step ``boundary`` on.
        boundary: optimizer step.
    """

    early: float
    late: float
    boundary: int

    @property
    def used(self) -> bool:
        """It is not zero for good."""
        return self.early != 0 or self.late != 0

    def at(self, step: int) -> float:
        """Return the weight at a step."""
        return piecewise_constant(step, [self.boundary], [self.early, self.late])
