"""Synthetic drives that writers are tried on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.clips import Clip, Sweep
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.synth import bumper_lidar, pinhole_rig, synthesize_drive


def make_drive(seed: int = 1, frames: int = 3, cameras: tuple[str, ...] = ("front", "left"), **options: object) -> Clip:
    """Return a drive of a small lidar, with range images, all values and poses."""
    rig = pinhole_rig(cameras, 96, 54) if cameras else ()
    clip = synthesize_drive(seed, uniform_sensor(16, 256, name="small"), frames, cameras=rig, **options)
    lidars = {name: replace(one, read=Kept(one.read, len(one))) for name, one in clip.lidars.items()}
    seen = {name: replace(one, read=Kept(one.read, len(one))) for name, one in clip.cameras.items()}
    return replace(clip, clip_id=f"drive_{seed}", lidars=lidars, cameras=seen)


class Kept:
    """``read`` of a stream that is in memory."""

    def __init__(self, read: Callable[[int], object], count: int) -> None:
        self.all = [read(index) for index in range(count)]

    def __call__(self, index: int) -> object:
        """Return what was read."""
        return self.all[index]


@pytest.fixture(scope="session")
def drive() -> Clip:
    """A drive with two cameras."""
    return make_drive()


@pytest.fixture(scope="session")
def two_lidars() -> Clip:
    """A drive with a second lidar at its own rate."""
    bumper = bumper_lidar(uniform_sensor(8, 96, 10, -20, name="bumper8"))
    return make_drive(2, lidars=[bumper])


class CompensatedPoints:
    """``read`` of a drive whose sweeps are points, moved to the start of their sweep, with second returns."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip

    def __call__(self, index: int) -> Sweep:
        """Return sweep ``index``; every tenth return has a second one, 2 m farther."""
        cloud = self.clip.lidar.cloud(index)
        motion = self.clip.lidar.motion(index)
        far = cloud.points[::10] * (1 + 2 / np.linalg.norm(cloud.points[::10], axis=1, keepdims=True))
        points = np.concatenate([cloud.points, far.astype(np.float32)])
        both = {
            name: np.concatenate([getattr(cloud, name), getattr(cloud, name)[::10]])
            for name in ("intensity", "labels", "instance", "time_us", "ring")
        }
        returns = np.repeat(np.array([1, 2], np.uint8), [len(cloud.points), len(far)])
        return Sweep(points=motion.compensated(points, both["time_us"]), returns=returns, **both)


@pytest.fixture(scope="session")
def compensated(drive: Clip) -> Clip:
    """The drive as points that were moved to the start of their sweep."""
    return drive.with_lidar(read=CompensatedPoints(drive), motion_compensated=True, frame_ids=("10", "20", "100"))
