"""Motions of the lidar that poses would mean in other conventions: of the vehicle, inverse, other axes, other units."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_AXES = "xyz"


@dataclass(frozen=True, eq=False)
class Convention:
    """A way in which poses of a lidar may be meant.

    Attributes:
        name: short, for scripts.
        text: what is wrong then, a clause.
        motion: (4, 4) first_SE3_second: the lidar at the second sweep, in its axes at the first.
    """

    name: str
    text: str
    motion: np.ndarray


def given_motion(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return (4, 4) first_SE3_second of poses as they should be, world_SE3_lidar."""
    return np.linalg.inv(first) @ second


def conventions(first: np.ndarray, second: np.ndarray, ego_SE3_lidar: np.ndarray | None) -> Iterator[Convention]:
    """Yield what poses (4, 4) of two sweeps may be instead of world_SE3_lidar, the likeliest first.

    Args:
        first: pose at the first sweep.
        second: pose at the second sweep.
        ego_SE3_lidar: the mounting of the lidar, where known.
    """
    given, inverse = given_motion(first, second), first @ np.linalg.inv(second)
    if ego_SE3_lidar is not None:
        mounted = np.linalg.inv(ego_SE3_lidar) @ given @ ego_SE3_lidar
        yield Convention("vehicle", "the poses are those of the vehicle, not of the lidar", mounted)
    yield Convention("inverse", "the poses are inverse: world to lidar, not lidar to world", inverse)
    if ego_SE3_lidar is not None:
        mounted = np.linalg.inv(ego_SE3_lidar) @ inverse @ ego_SE3_lidar
        yield Convention("vehicle_inverse", "the poses are inverse, and those of the vehicle", mounted)
    yield Convention("moved", "the points lie still: moved by the poses already, or measured while standing", np.eye(4))
    yield Convention("reversed", "the poses are in the reverse order of the sweeps", np.linalg.inv(given))
    for turn in _turns():
        text = f"the poses are in other axes: the lidar's x y z are their {_name(turn)}"
        yield Convention(f"axes {_name(turn)}", text, _turned(given, turn))
    mirror = np.diag([1.0, -1.0, 1.0])
    yield Convention(
        "left_handed", "the poses are left-handed: their y axis points to the right", _turned(given, mirror)
    )
    for factor, unit in ((0.01, "centimeters"), (0.001, "millimeters"), (1000.0, "kilometers")):
        scaled = given.copy()
        scaled[:3, 3] *= factor
        yield Convention(f"unit {unit}", f"the poses are in {unit}", scaled)


def _turns() -> Iterator[np.ndarray]:
    """Yield the 23 turns (3, 3) by right angles that are not the identity, those around z first."""
    turns = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            if np.linalg.det(matrix) > 0 and not np.array_equal(matrix, np.eye(3)):
                turns.append(matrix)
    yield from sorted(turns, key=lambda matrix: -matrix[2, 2])


def _name(turn: np.ndarray) -> str:
    """Return ``y -x z`` of a turn whose first row takes y, and so on."""
    names = []
    for row in turn:
        axis = int(np.argmax(np.abs(row)))
        names.append(("-" if row[axis] < 0 else "") + _AXES[axis])
    return " ".join(names)


def _turned(motion: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Return a motion (4, 4) in axes that ``turn`` (3, 3) takes those of the poses to."""
    result = np.eye(4)
    result[:3, :3] = turn @ motion[:3, :3] @ turn.T
    result[:3, 3] = turn @ motion[:3, 3]
    return result
