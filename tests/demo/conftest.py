from __future__ import annotations

from dataclasses import replace

import pytest

from cosmos_lidar.clips import Clip
from cosmos_lidar.demo.recordings import Recordings
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.synth import pinhole_rig, surround_rig, synthesize_drive

RING = pinhole_rig(width=64, fov_deg=130.0)
VIEWS = surround_rig(48, 32)[1:4]


@pytest.fixture(scope="session")
def rendered() -> Clip:
    """Return a drive of a small lidar and small cameras; images are rendered once."""
    drive = synthesize_drive(1, uniform_sensor(16, 128), 5, cameras=(*RING, *VIEWS))
    images = {name: [camera.read(number) for number in range(5)] for name, camera in drive.cameras.items()}
    cameras = {name: replace(camera, read=images[name].__getitem__) for name, camera in drive.cameras.items()}
    return replace(drive, cameras=cameras)


@pytest.fixture
def recordings(rendered: Clip) -> Recordings:
    """Return recordings with everything but labels."""
    names = [tuple(camera.name for camera in rig) for rig in (RING, VIEWS)]
    return Recordings([rendered], [rendered], rendered, *names, remark="a drive")
