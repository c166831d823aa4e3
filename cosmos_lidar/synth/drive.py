"""A whole drive as a :class:`~cosmos_lidar.clips.clip.Clip`: sweeps and photographs are made when asked for."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.errors import UserError
from cosmos_lidar.sensors.sensor import Sensor
from cosmos_lidar.synth.boxes import DriveBoxes
from cosmos_lidar.synth.camera import render
from cosmos_lidar.synth.lanes import LINES_M, DriveLanes
from cosmos_lidar.synth.lidar import Noise, cast_sweep
from cosmos_lidar.synth.primitives import Primitives
from cosmos_lidar.synth.rigs import RigCamera, RigLidar
from cosmos_lidar.synth.town import Scene, build_scene

VEHICLE_SE3_LIDAR = np.array([[1.0, 0, 0, 0.0], [0, 1, 0, 0], [0, 0, 1, 2.0], [0, 0, 0, 1]])
MEASURED = Noise()
_MOMENTS = 64  # of a drive that are kept: 64 times about 1 MB
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

    @cached_property
    def _moments(self) -> dict[float, Primitives]:
        return {}

    def __getstate__(self) -> dict[str, object]:
        """Leave the moments behind when this goes to another process."""
        return {name: value for name, value in vars(self).items() if name != "_moments"}

    def bodies(self, time_s: float) -> Primitives:
        """Return every body at ``time_s``; those of the last moments are kept, as several cameras see them."""
        if time_s not in self._moments:
            while len(self._moments) >= _MOMENTS:
                self._moments.pop(next(iter(self._moments)))
            self._moments[time_s] = self.scene.at(time_s)
        return self._moments[time_s]

    def world_SE3_lidar(self, time_s: float) -> np.ndarray:
        """Return (4, 4) the lidar at ``time_s`` after the start."""
        return self.scene.world_SE3_vehicle(time_s) @ VEHICLE_SE3_LIDAR

    def read_sweep(self, index: int) -> Sweep:
        """Return sweep ``index``; the same every time it is asked for."""
        return self.cast(self.sensor, VEHICLE_SE3_LIDAR, index, [self.seed, index, 0x11DA])

    def cast(self, sensor: Sensor, vehicle_SE3_lidar: np.ndarray, index: int, noise_seed: list[int]) -> Sweep:
        """Return sweep ``index`` of any lidar on the vehicle."""
        period = 1.0 / sensor.spin_hz
        places = [self.scene.world_SE3_vehicle((index + k) * period) @ vehicle_SE3_lidar for k in (0, 1)]
        bodies = self.scene.at((index + 0.5) * period)
        rng = np.random.default_rng(noise_seed)
        return cast_sweep(sensor, bodies, self.scene.terrain, np.stack(places), period, self.noise, rng)


@dataclass(frozen=True)
class _OtherLidar:
    """``read`` of a lidar beside the one on the roof; ``number`` seeds its noise."""

    drive: Drive
    lidar: RigLidar
    number: int

    def __call__(self, index: int) -> Sweep:
        seed = [self.drive.seed, index, 0x11DA, self.number]
        return self.drive.cast(self.lidar.sensor, self.lidar.vehicle_SE3_lidar, index, seed)


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
        bodies = self.drive.bodies(time_s)
        return render(self.drive.scene, self.camera.model, self.pose(time_s), time_s, bodies=bodies).rgb


def synthesize_drive(
    seed: int,
    sensor: Sensor,
    frames: int,
    *,
    cameras: Sequence[RigCamera] = (),
    noise: Noise | None = MEASURED,
    images_per_sweep: int = 1,
    lidars: Sequence[RigLidar] = (),
) -> Clip:
    """Return drive number ``seed``: the same arguments give the same clip, bit for bit.

    Args:
        seed: which street, traffic and noise; not negative.
        sensor: the lidar, on the roof of a car 2 m above the road.
        frames: number of sweeps, one after the other.
        cameras: what else the car carries, see :mod:`cosmos_lidar.synth.rigs`.
        noise: of the lidar; None for exact ranges without any loss.
        images_per_sweep: images of each camera per revolution, the first at its start (published layout: 3).
        lidars: further ones, each with whole revolutions at its own rate in the time of the drive; the clip's main
            lidar is ``lidar``, on the roof.

    Raises:
        UserError: no frames, or a negative seed.
    """
    if frames < 1 or seed < 0 or images_per_sweep < 1:
        raise UserError(f"{frames} frames, seed {seed}, {images_per_sweep} images per sweep: frames and images "
                        "must be at least 1, the seed not negative")  # fmt: skip
    drive, period = Drive(seed, sensor, frames, noise), 1.0 / sensor.spin_hz
    start = _FIRST_US + (seed % 10**6) * 10**9
    roof = RigLidar("lidar", sensor, VEHICLE_SE3_LIDAR)
    streams = {"lidar": _stream(drive, roof, frames, start, drive.read_sweep, images_per_sweep)}
    for number, lidar in enumerate(lidars, 1):
        count = int(frames * period * lidar.sensor.spin_hz + 1e-9)
        streams[lidar.name] = _stream(drive, lidar, count, start, _OtherLidar(drive, lidar, number))
    times_s = np.arange(frames * images_per_sweep) * period / images_per_sweep
    photographers = [_Photographer(drive, camera, images_per_sweep / period) for camera in cameras]
    photos = {one.camera.name: _photos(one, times_s, start) for one in photographers}
    first, last = streams["lidar"].timestamps_us[[0, -1], [0, 1]]
    clip_id = _clip_id(drive, int(first), int(last))
    boxes = DriveBoxes(drive.bodies, start)
    lanes = _DriveLanes(drive)
    source = Path("synth") / f"drive_{seed}"
    return Clip(clip_id, source, "synth", streams, photos, boxes=boxes, lane_lines=lanes)


@dataclass(frozen=True)
class _DriveLanes:
    """``lane_lines`` of a clip: the street is built when they are first asked for."""

    drive: Drive

    def __call__(self) -> list[np.ndarray]:
        scene, duration_s = self.drive.scene, self.drive.frames / self.drive.sensor.spin_hz
        if scene.terrain is None:
            return []
        return DriveLanes(scene.terrain, scene.ego.x(0.0) - LINES_M, scene.ego.x(duration_s) + LINES_M)()


def _stream(
    drive: Drive, lidar: RigLidar, count: int, start_us: int, read: Callable[[int], Sweep], step: int = 1
) -> LidarStream:
    """Return ``count`` sweeps of a lidar, one after the other; their names are ``step`` apart."""
    edges_s = np.arange(count + 1) * (1.0 / lidar.sensor.spin_hz)
    edges_us = start_us + np.rint(edges_s * 1e6).astype(np.int64)
    poses = np.stack([drive.scene.world_SE3_vehicle(t) @ lidar.vehicle_SE3_lidar for t in edges_s])
    return LidarStream(
        lidar.name,
        lidar.sensor,
        tuple(f"{i * step:06d}" for i in range(count)),
        np.stack((edges_us[:-1], edges_us[1:]), 1),
        read,
        np.stack((poses[:-1], poses[1:]), 1),
        ego_SE3_lidar=lidar.vehicle_SE3_lidar,
    )


def _photos(photographer: _Photographer, times_s: np.ndarray, start_us: int) -> CameraStream:
    poses = np.stack([photographer.pose(t) for t in times_s])
    times_us = start_us + np.rint(times_s * 1e6).astype(np.int64)
    camera = photographer.camera
    mounting = camera.vehicle_SE3_camera
    lidar_SE3_camera = np.linalg.inv(VEHICLE_SE3_LIDAR) @ mounting
    return CameraStream(camera.name, times_us, photographer, camera.model, poses, lidar_SE3_camera, mounting)


def _clip_id(drive: Drive, start_us: int, end_us: int) -> str:
    """Return the id of what the lidar of this drive measures: another sensor or noise is another clip.

    The published loaders strip the characters of ``.lidar_row.npz`` from both ends of a member's name, and with them
    ``a`` and ``d`` from the head of an id: such a head becomes ``b`` or ``c``.
    """
    what = f"synthetic drive {drive.seed} {drive.sensor.fingerprint()} {drive.noise}"
    digest = bytearray(hashlib.sha256(what.encode()).digest()[:16])
    if digest[0] >> 4 in (0xA, 0xD):
        digest[0] ^= 0x10
    return f"{uuid.UUID(bytes=bytes(digest), version=4)}_{start_us}_{end_us}"
