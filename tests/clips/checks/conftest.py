from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest

from cosmos_lidar.clips import Clip
from cosmos_lidar.clips.finding import Finding
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.sensors.sensor import uniform_sensor
from cosmos_lidar.synth import pinhole_rig, synthesize_drive


@pytest.fixture(scope="session")
def drive() -> Clip:
    """A synthetic drive of 8 sweeps of 32 x 512, with a front camera."""
    clip = synthesize_drive(3, uniform_sensor(32, 512), 8, cameras=pinhole_rig(("front",), width=320))
    cameras = {name: replace(camera, read=cache(camera.read)) for name, camera in clip.cameras.items()}
    return replace(clip.with_lidar(read=cache(clip.lidar.read)), clip_id="drive", cameras=cameras)


@pytest.fixture
def found() -> Callable[..., list[Finding]]:
    """Return a function: findings of one check on a clip."""

    def run(name: str, clip: Clip, sweeps: int = 3) -> list[Finding]:
        return list(check_clip(clip, sweeps, [name]).findings)

    return run
