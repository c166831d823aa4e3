"""One lidar sweep: a range image or points, and what was recorded with each return."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cosmos_lidar.errors import DataError

if TYPE_CHECKING:
    from cosmos_lidar.sensors.sensor import Sensor

# What a dataset may record with every return, and the dtype it comes in.
RETURN_VALUES = {
    "intensity": np.float32,
    "labels": np.uint16,
    "instance": np.uint32,
    "time_us": np.int32,
    "ring": np.uint16,
    "elongation": np.float32,
}


@dataclass(frozen=True)
class Sweep:
    """One lidar revolution, as a range image, as points, or as both; what the recording holds, nothing derived.

    Every value below is None where the recording has none. ``intensity``, ``labels``, ``instance``, ``time_us``,
    ``ring`` and ``elongation`` are (rows, columns) where there is a range image and (N,) where there are only points.
    Where both are given, the points are those of the pixels with a return, row by row, and the values are those of the
    pixels.

    Attributes:
        range_m: (rows, columns) float32 meters, 0 = no return; with several returns per pulse, of the first.
        points: (N, 3) float32 meters in the sensor frame (x forward, y left, z up), of all returns.
        intensity: float32, in the units of the dataset.
        labels: uint16 semantic class, in the numbers of the dataset; 0 in pixels without a return.
        instance: uint32 number of the object; ``(labels, instance)`` names one object, 0 is no object.
        time_us: int32 microseconds after the start of the sweep (``timestamps_us[index, 0]``) at which the pulse was
            fired; may be below 0 or beyond the end of the sweep.
        ring: uint16 number of the laser, as the dataset counts them; None in range images whose row it is.
        elongation: float32, how much longer than the pulse its echo was, in the units of the dataset.
        returns: (N,) uint8 of points: which return of its pulse each one is, 1 for the first.
        second_return: the second returns of a range image, a Sweep with a range image of the same shape.
        without_return: points of the recording that are NaN, infinite or at the origin, and therefore left out.
    """

    range_m: np.ndarray | None = None
    points: np.ndarray | None = None
    intensity: np.ndarray | None = None
    labels: np.ndarray | None = None
    instance: np.ndarray | None = None
    time_us: np.ndarray | None = None
    ring: np.ndarray | None = None
    elongation: np.ndarray | None = None
    returns: np.ndarray | None = None
    second_return: Sweep | None = None
    without_return: int = 0

    @property
    def semantic(self) -> np.ndarray | None:
        """The semantic classes: another name of ``labels``."""
        return self.labels

    @property
    def held(self) -> tuple[str, ...]:
        """Names of the values that this sweep holds."""
        names = (one.name for one in fields(self) if one.name != "without_return")
        return tuple(name for name in names if getattr(self, name) is not None)


def to_points(sweep: Sweep, sensor: Sensor) -> Sweep:
    """Return a sweep as points (N, 3) with its values (N,): first returns row by row, then the second ones.

    A sweep of points comes back as it is. Of a range image ``ring`` is the row where it has none; values that only one
    of two returns has are left out.

    Args:
        sweep: range image, points, or both.
        sensor: of its range image; gives the points where there are none.

    Raises:
        DataError: the range image is not one of ``sensor``.
    """
    if sweep.range_m is None:
        return sweep
    first = _pixels_to_points(sweep, sensor)
    if sweep.second_return is None:
        return Sweep(**first)
    second = _pixels_to_points(sweep.second_return, sensor)
    counts = [len(first["points"]), len(second["points"])]
    # Each pair is freed when it has been joined.
    values: dict[str, Any] = {
        name: np.concatenate([first.pop(name), second.pop(name)]) for name in [*first] if name in second
    }
    return Sweep(**values, returns=np.repeat(np.array([1, 2], np.uint8), counts))


def points_of(sweep: Sweep, sensor: Sensor) -> np.ndarray:
    """Return the points (N, 3) of a sweep as :func:`to_points` has them, without the values.

    Raises:
        DataError: the range image is not one of ``sensor``, or the sweep is empty.
    """
    from cosmos_lidar.sensors import range_map_to_points

    points = sweep.points
    if points is None:
        if sweep.range_m is None:
            raise DataError("neither range image nor points", wanted="a sweep with one of them")
        points = np.asarray(range_map_to_points(sweep.range_m, sensor))
    if sweep.second_return is None:
        return points
    return np.concatenate([points, points_of(sweep.second_return, sensor)])


def _pixels_to_points(sweep: Sweep, sensor: Sensor) -> dict[str, Any]:
    """Return the points and values of a range image, in the order of a sweep's fields."""
    found: dict[str, Any] = {"points": points_of(replace(sweep, second_return=None), sensor)}
    seen = np.asarray(sweep.range_m) > 0
    held = {name: getattr(sweep, name) for name in RETURN_VALUES}
    found |= {name: value[seen] for name, value in held.items() if value is not None}
    if "ring" not in found:
        found["ring"] = np.repeat(np.arange(len(seen), dtype=np.uint16), np.count_nonzero(seen, axis=1))
    return found


def sweep_problems(sweep: Sweep, sensor: Sensor | None = None) -> list[str]:
    """Return what is wrong with the shapes and dtypes of a sweep, one sentence each; empty for a good one.

    Args:
        sweep: what a reader has read.
        sensor: its lidar, whose (rows, columns) a range image must have.
    """
    if sweep.range_m is None and sweep.points is None:
        return ["neither range image nor points"]
    problems = []
    if sweep.range_m is not None:
        shape = sensor.shape if sensor is not None else np.shape(sweep.range_m)
        problems += _wrong("range_m", sweep.range_m, shape, np.float32)
    if sweep.points is not None:
        count = len(sweep.points) if sweep.range_m is None else int(np.count_nonzero(sweep.range_m))
        problems += _wrong("points", sweep.points, (count, 3), np.float32)
        shape = (count,) if sweep.range_m is None else shape
    for name, dtype in RETURN_VALUES.items():
        problems += _wrong(name, getattr(sweep, name), shape, dtype)
    return problems + _return_problems(sweep, shape)


def _wrong(name: str, value: np.ndarray | None, shape: tuple[int, ...], dtype: type) -> list[str]:
    if value is None or (np.shape(value) == shape and value.dtype == dtype):
        return []
    return [f"{name}: {value.dtype} {np.shape(value)}, expected {np.dtype(dtype)} {shape}"]


def _return_problems(sweep: Sweep, shape: tuple[int, ...]) -> list[str]:
    second = sweep.second_return
    if sweep.range_m is None:
        problems = _wrong("returns", sweep.returns, shape, np.uint8)
        return problems if second is None else [*problems, "second_return: of points, expected returns (N,) uint8"]
    problems = [] if sweep.returns is None else ["returns: of a range image, expected second_return"]
    if second is None:
        return problems
    if second.range_m is None or second.second_return is not None:
        return [*problems, "second_return: expected a sweep with one range image"]
    if np.shape(second.range_m) != shape:
        return [*problems, f"second_return: range image {np.shape(second.range_m)}, expected {shape}"]
    return problems + [f"second_return: {problem}" for problem in sweep_problems(second)]
