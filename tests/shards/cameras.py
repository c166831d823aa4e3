"""Clips of several cameras whose images tell camera and frame by their colors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.synth.rigs import mount

NAMES = ("pinhole_side_left", "pinhole_front_left", "pinhole_front", "pinhole_front_right", "pinhole_side_right")
IDS = (4, 5, 0, 1, 2)
YAWS_DEG = dict(zip(NAMES, (90.0, 45.0, 0.0, -45.0, -90.0), strict=True))
START_US = 1_700_000_000_000_000


def image_of(camera: int, frame: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Return an image of one color: red is the camera, green the frame."""
    image = np.zeros((*size, 3), np.uint8)
    image[..., 0], image[..., 1], image[..., 2] = 20 + 40 * camera, 20 + 5 * frame, 90
    return image


def numbers_of(frames: np.ndarray) -> tuple[list[int], list[int]]:
    """Return (camera of each view, frame of each instant) of (V, 3, T, H, W), read from the colors."""
    means = np.asarray(frames, np.float64).mean((-2, -1))
    cameras = [round((float(view[0, 0]) - 20) / 40) for view in means]
    return cameras, [round((float(value) - 20) / 5) for value in means[0, 1]]


@dataclass(frozen=True)
class Colored:
    """``read`` of a camera."""

    camera: int
    size: tuple[int, int]

    def __call__(self, index: int) -> np.ndarray:
        return image_of(self.camera, index, self.size)


def camera(
    name: str, number: int, frames: int, *, offset_us: int = 0, size: tuple[int, int] = (48, 64)
) -> CameraStream:
    """Return a camera of 10 images per second that moves 1 m per image along x."""
    times = START_US + offset_us + 100_000 * np.arange(frames)
    mounting = mount((1.0, 0.0, 1.5), YAWS_DEG.get(name, 0.0))
    poses = np.repeat(mounting[None], frames, 0)
    poses[:, 0, 3] += np.arange(frames)
    lens = PinholeCamera.from_fov(size[1], size[0], 1.2)
    return CameraStream(name, times, Colored(number, size), lens, poses, ego_SE3_camera=mounting)


def camera_clip(clip_id: str, frames: int = 12, names: Sequence[str] = NAMES, **options: object) -> Clip:
    """Return a clip of cameras alone; each is taken 10 ms after the one before."""
    cameras = {name: camera(name, number, frames, offset_us=10_000 * number, **options)
               for number, name in enumerate(names)}  # fmt: skip
    return Clip(clip_id, Path(clip_id), "test", {}, cameras)


def with_lidar(clip: Clip, drive: Clip) -> Clip:
    """Return a clip with the main lidar of a synthetic drive, whose first sweep starts 30 ms after the first image."""
    lidar = drive.lidar
    times = lidar.timestamps_us - lidar.timestamps_us[0, 0] + START_US + 30_000
    return replace(clip, lidars={lidar.name: replace(lidar, timestamps_us=times)})
