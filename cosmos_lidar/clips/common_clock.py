"""Frames of several cameras on one common clock: which image of each camera belongs to each instant.

Cameras of a vehicle run on clocks of their own: they start at different times, are triggered one after the other, and
drop images. An instant of the clock takes the image of each camera that is nearest in time. Where a camera has none
near enough, the clock is cut: what lies before and after are runs of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cosmos_lidar.clips.clip import CameraStream
from cosmos_lidar.clips.nearest import nearest_numbers
from cosmos_lidar.errors import DataError, UserError

_NEAR = 0.75  # of the time between two images of a camera: between two images, one is always nearer than half of it
_FASTER = 1.05  # than the cameras: their rates are known to about a percent


@dataclass(frozen=True)
class ClockedRun:
    """Consecutive instants at which every camera has an image.

    Attributes:
        clock_us: (T,) int64 microseconds, the instants.
        numbers: (V, T) int64, the image of each camera, in the order of the cameras.
        times_us: (V, T) int64 microseconds, when those images were taken.
    """

    clock_us: np.ndarray
    numbers: np.ndarray
    times_us: np.ndarray

    def __len__(self) -> int:
        return len(self.clock_us)

    def __getitem__(self, part: slice) -> ClockedRun:
        return ClockedRun(self.clock_us[part], self.numbers[:, part], self.times_us[:, part])

    @property
    def fps(self) -> float:
        """Instants per second, by their mean step; 0 for a single one."""
        span_us = float(self.clock_us[-1] - self.clock_us[0])
        return (len(self) - 1) * 1e6 / span_us if span_us > 0 else 0.0


def common_runs(
    cameras: Sequence[CameraStream], fps: float = 0.0, tolerance_s: float | None = None
) -> list[ClockedRun]:
    """Return the runs of instants at which all cameras have images, in time order; an empty list where there are none.

    Args:
        cameras: of one clip.
        fps: instants per second, counted from the first time at which every camera runs; 0: the times of the first
            camera are the clock.
        tolerance_s: how far an image may be from its instant; None: three quarters of the time between two images of
            its camera.

    Raises:
        DataError: a camera has no images, or times that do not increase.
        UserError: no camera, or an ``fps`` that is higher than the rate of a camera, so that images would repeat.
    """
    if not cameras:
        raise UserError("no cameras: expected at least one")
    for camera in cameras:
        _check_times(camera)
    first = max(int(camera.timestamps_us[0]) for camera in cameras)
    last = min(int(camera.timestamps_us[-1]) for camera in cameras)
    clock = _clock(cameras, fps, first, last)
    if not len(clock):
        return []
    numbers = np.stack([nearest_numbers(camera.timestamps_us, clock) for camera in cameras])
    times = np.stack([camera.timestamps_us[found] for camera, found in zip(cameras, numbers, strict=True)])
    allowed_us = np.array([_tolerance_us(camera, tolerance_s) for camera in cameras])[:, None]
    return _cut(ClockedRun(clock, numbers, times.astype(np.int64)), (np.abs(times - clock) <= allowed_us).all(0))


def _check_times(camera: CameraStream) -> None:
    times = camera.timestamps_us
    if not len(times) or (np.diff(times) <= 0).any():
        problem = "its times do not increase" if len(times) else "it has no images"
        raise DataError(f"camera {camera.name}: {problem}", key=camera.name, wanted="images whose times increase")


def _clock(cameras: Sequence[CameraStream], fps: float, first: int, last: int) -> np.ndarray:
    """Return (T,) int64 instants between the first and the last time at which every camera runs."""
    slack_us = min(map(_period_us, cameras)) // 2  # of cameras that are triggered in turn, some end a little earlier
    if not fps:
        times = np.asarray(cameras[0].timestamps_us, np.int64)
        return times[(times >= first - slack_us) & (times <= last + slack_us)]
    for camera in cameras:
        rate = 1e6 / _period_us(camera) if len(camera) > 1 else 0.0
        if rate and fps > _FASTER * rate:
            raise UserError(f"fps {fps:g}: camera {camera.name} has {rate:.4g} images per second, which would repeat")
    count = int((last + slack_us - first) * fps / 1e6 + 1e-6) + 1 if last >= first else 0
    return first + np.rint(np.arange(count) * (1e6 / fps)).astype(np.int64)


def _period_us(camera: CameraStream) -> int:
    steps = np.diff(camera.timestamps_us)
    return int(np.median(steps)) if len(steps) else 100_000


def _tolerance_us(camera: CameraStream, tolerance_s: float | None) -> float:
    return _NEAR * _period_us(camera) if tolerance_s is None else tolerance_s * 1e6


def _cut(whole: ClockedRun, there: np.ndarray) -> list[ClockedRun]:
    """Return the runs of instants that are ``there``, and that no repeated image of a camera divides."""
    repeats = np.asarray((np.diff(whole.numbers) <= 0).any(0))
    runs, start = [], 0
    for instant in range(len(whole) + 1):
        ends = instant == len(whole) or not there[instant]
        if ends or (instant > start and repeats[instant - 1]):
            if instant > start:
                runs.append(whole[start:instant])
            start = instant + ends
    return runs
