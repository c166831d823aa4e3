"""A whole drive as a :class:`~cosmos_lidar.clips.clip.Clip`: sweeps and photographs are made when asked for."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, one_lidar_clip
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.errors import UserError
from cosmos_lidar.sensors.sensor import Sensor
from cosmos_lidar.synth.camera import render
from cosmos_lidar.synth.lidar import Noise, cast_sweep
from cosmos_lidar.synth.rigs import RigCamera
from cosmos_lidar.synth.town import Scene, build_scene

VEHICLE_SE3_LIDAR = np.array([[1.0, 0, 0, 0.0], [0, 1, 0, 0], [0, 0, 1, 2.0], [0, 0, 0, 1]])
MEASURED = Noise()
_FIRST_US = 1_700_000_000_000_000


@dataclass(frozen=True)
class Drive:
    """One synthetic drive: the street, the sensors, and the noise.

    Attributes:
        seed: names the street and the noise.
        sensor: the lidar.
        frames: number of sweeps.
        noise: of the lidar; None for exact ranges.
    """

    seed: int
    sensor: Sensor
    frames: int
    noise: Noise | None

    @cached_property
    def scene(self) -> Scene:
        """The street, built when first needed."""
        return build_scene(self.seed, self.frames / self.sensor.spin_hz)

    def world_SE3_lidar(self, time_s: float) -> np.ndarray:
        """Return (4, 4) the lidar at ``time_s`` after the start."""
        return self.scene.world_SE3_vehicle(time_s) @ VEHICLE_SE3_LIDAR

    def read_sweep(self, index: int) -> Sweep:
        """Return sweep ``index``; the same every time it is asked for."""
        period = 1.0 / self.sensor.spin_hz
        poses = np.stack([self.world_SE3_lidar(index * period), self.world_SE3_lidar((index + 1) * period)])
        bodies = self.scene.at((index + 0.5) * period)
        rng = np.random.default_rng([self.seed, index, 0x11DA])
        return cast_sweep(self.sensor, bodies, self.scene.terrain, poses, period, self.noise, rng)


@dataclass(frozen=True)
class _Photographer:
    """``read`` of a camera stream."""

    drive: Drive
    camera: RigCamera
    rate_hz: float

    def pose(self, time_s: float) -> np.ndarray:
        """Return world_SE3_camera (4, 4)."""
        return self.drive.scene.world_SE3_vehicle(time_s) @ self.camera.vehicle_SE3_camera

    def __call__(self, index: int) -> np.ndarray:
        time_s = index / self.rate_hz
        return render(self.drive.scene, self.camera.model, self.pose(time_s), time_s).rgb


def synthesize_drive(
    seed: int,
    sensor: Sensor,
    frames: int,
    *,
    cameras: Sequence[RigCamera] = (),
    noise: Noise | None = MEASURED,
    pictures_per_sweep: int = 1,
) -> Clip:
    """Return drive number ``seed``: the same arguments give the same clip, bit for bit.

    Args:
        seed: which street, traffic and noise; not negative.
        sensor: the lidar, on the roof of a car 2 m above the road.
        frames: number of sweeps, one after the other.
        cameras: what else the car carries, see :mod:`cosmos_lidar.synth.rigs`.
        noise: of the lidar; None for exact ranges without any loss.
        pictures_per_sweep: pictures of each camera per revolution, the first at its start (published layout: 3).

    Raises:
        UserError: no frames, or a negative seed.
    """
    if frames < 1 or seed < 0 or pictures_per_sweep < 1:
        raise UserError(f"{frames} frames, seed {seed}, {pictures_per_sweep} pictures per sweep: frames and pictures "
                        "must be at least 1, the seed not negative")  # fmt: skip
    drive, period = Drive(seed, sensor, frames, noise), 1.0 / sensor.spin_hz
    start = _FIRST_US + (seed % 10**6) * 10**9
    edges_us = start + np.rint(np.arange(frames + 1) * period * 1e6).astype(np.int64)
    edges = np.stack([drive.world_SE3_lidar(i * period) for i in range(frames + 1)])
    streams = {}
    for camera in cameras:
        photographer = _Photographer(drive, camera, pictures_per_sweep / period)
        times_s = np.arange(frames * pictures_per_sweep) * period / pictures_per_sweep
        poses = np.stack([photographer.pose(t) for t in times_s])
        times_us = start + np.rint(times_s * 1e6).astype(np.int64)
        streams[camera.name] = CameraStream(camera.name, times_us, photographer, camera.model, poses)
    return one_lidar_clip(
        clip_id=_clip_id(drive, int(edges_us[0]), int(edges_us[-1])), sensor=sensor,
        frame_ids=tuple(f"{i * pictures_per_sweep:06d}" for i in range(frames)),
        timestamps_us=np.stack((edges_us[:-1], edges_us[1:]), 1), read_sweep=drive.read_sweep,
        source=Path("synth") / f"drive_{seed}", format="synth",
        world_SE3_lidar=np.stack((edges[:-1], edges[1:]), 1), cameras=streams,
    )  # fmt: skip


def _clip_id(drive: Drive, start_us: int, end_us: int) -> str:
    """Return the id of what the lidar of this drive measures: another sensor or noise is another clip."""
    what = f"synthetic drive {drive.seed} {drive.sensor.fingerprint()} {drive.noise}"
    name = uuid.UUID(bytes=hashlib.sha256(what.encode()).digest()[:16], version=4)
    return f"{name}_{start_us}_{end_us}"
