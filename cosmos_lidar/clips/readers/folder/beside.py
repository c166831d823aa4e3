"""What lies beside the sweeps of a folder: stamps, poses, facts of the lidar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import LidarStream
from cosmos_lidar.clips.readers.folder.facts import FACTS, LidarFacts, read_facts
from cosmos_lidar.clips.readers.folder.track import (
    POSES,
    TIMES,
    Track,
    at_sweeps,
    read_more_stamps,
    read_stamps,
    read_track,
    stamps_of_names,
)
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.clips.sweep_times import times_of_starts
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.sensor import Sensor

SENSOR_FILE = "sensor.yaml"


@dataclass(frozen=True)
class Beside:
    """What a folder has about its sweeps.

    Attributes:
        timestamps_us: (N, 2) start and end of each sweep.
        world_SE3_lidar: (N, 2, 4, 4), or None.
        reference_us: (N,) of motion-compensated points, or None.
        facts: of the lidar.
        notes: where times come from, and whether there are poses.
    """

    timestamps_us: np.ndarray
    world_SE3_lidar: np.ndarray | None
    reference_us: np.ndarray | None
    facts: LidarFacts
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the lidar."""
        return self.facts.name

    def lidar(self, sensor: Sensor, files: tuple[Path, ...], read: Callable[[int], Sweep]) -> LidarStream:
        """Return the lidar whose sweeps are these files."""
        facts = self.facts
        reference = self.reference_us if facts.motion_compensated else None
        return LidarStream(
            facts.name, sensor, tuple(file.stem for file in files), self.timestamps_us, read, self.world_SE3_lidar,
            facts.motion_compensated, facts.ego_SE3_lidar, reference_us=reference,
        )  # fmt: skip


def read_beside(folder: Path, files: tuple[Path, ...], sensor: Sensor, clip: str, alone: bool = False) -> Beside:
    """Return what lies beside sweeps.

    Args:
        folder: of the sweeps.
        files: the sweeps, in their order.
        sensor: its rate is that of sweeps without times.
        clip: for messages.
        alone: the sweep was named by itself; nothing beside it is read.

    Raises:
        DataError: stamps, poses or facts that cannot be read or do not fit.
    """
    places = [[place for one in names if (place := folder / one).is_file()] for names in (TIMES, POSES)]
    times_file, poses_file = (None if alone or not place else place[0] for place in places)
    track = read_track(poses_file, clip) if poses_file else None
    starts, how = _starts(files, times_file, track, sensor, clip)
    times, reference = _sweep_times(starts, sensor, times_file or folder, clip), None
    if times_file is not None:
        times = _with_ends(times, times_file, clip)
        reference = read_more_stamps(times_file, "reference_us", clip)
    poses = at_sweeps(track, times, poses_file, clip) if track and poses_file else None
    facts = LidarFacts() if alone else read_facts(folder / FACTS, clip)
    return Beside(times, poses, reference, facts, (how,) if poses is not None else (how, "no poses"))


def _with_ends(times: np.ndarray, file: Path, clip: str) -> np.ndarray:
    """Return the times of sweeps with the ends that a file of stamps has, if it has any."""
    ends = read_more_stamps(file, "end_us", clip)
    if ends is None:
        return times
    back = np.flatnonzero(ends <= times[:, 0])
    if len(back):
        key = f"row {back[0] + 1}"
        raise DataError("a sweep that ends before it starts", file=file, clip=clip, key=key, wanted="end_us after it")
    return np.stack([times[:, 0], ends], axis=1)


def _starts(
    clouds: tuple[Path, ...], times_file: Path | None, track: Track | None, sensor: Sensor, clip: str
) -> tuple[np.ndarray, str]:
    """Return (N,) microseconds of the starts of sweeps, and a note of where they come from."""
    if times_file is not None:
        starts, unit = read_stamps(times_file, len(clouds), clip)
        return starts, f"times of {times_file.name}: {unit}"
    names = [file.stem for file in clouds]
    of_names = stamps_of_names(names)
    if of_names is not None:
        return of_names[0], f"times of the names of files: {of_names[1]}"
    if track is not None and track.times_us is not None and len(track.times_us) == len(clouds):
        return track.times_us, "times of the poses"
    spin_us = 1e6 / sensor.spin_hz
    numbers = [int(name) for name in names if name.isdecimal() and len(name) < 10]
    if len(numbers) == len(names) and len(set(numbers)) == len(numbers):
        return np.round(np.array(numbers) * spin_us).astype(np.int64), "no times: frame numbers at the sensor's rate"
    return np.round(np.arange(len(names)) * spin_us).astype(np.int64), "no times: the sensor's rate"


def _sweep_times(starts: np.ndarray, sensor: Sensor, file: Path, clip: str) -> np.ndarray:
    """Return (N, 2) start and end of sweeps."""
    back = np.flatnonzero(np.diff(starts) <= 0)
    if len(back):
        problem = f"time goes from {starts[back[0]]} to {starts[back[0] + 1]} us"
        raise DataError(problem, file=file, clip=clip, key=f"row {back[0] + 2}", wanted="increasing times")
    return times_of_starts(starts, sensor.spin_hz)
