"""Lidar depth as a control image: the nearest sweep, moved to the moment of the image, in the view of the camera."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from cosmos_lidar.clips.camera_pose import points_in_camera, points_in_world
from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.clips.controls import Control, lens_for
from cosmos_lidar.clips.controls._recent import Recent
from cosmos_lidar.clips.nearest import nearest_numbers
from cosmos_lidar.sensors.camera_projection import project_to_image

NEAREST_M, FARTHEST_M = 1.0, 120.0
BRIGHTEST, DARKEST = 255, 55  # of the nearest and of the farthest return; 0 is no return
_DOT = 320  # a return covers this share of the image's width, at least one pixel


@dataclass(frozen=True)
class LidarDepth:
    """Draws the main lidar of a clip; points of the last sweeps are kept, in the world where poses are known."""

    clip: Clip
    _recent: Recent[np.ndarray] = field(default_factory=Recent, compare=False)

    def __call__(self, camera: CameraStream, image: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """Return (H, W, 3) uint8, gray: the nearer, the brighter; black where no return is.

        An image without a sweep within the time of one is black.

        Raises:
            DataError: the camera has no lens or no place, or the sweep cannot be read.
        """
        lens = lens_for(self.clip, camera, size)
        depth_m = np.full((lens.height, lens.width), np.inf, np.float32)
        index = nearest_sweep(self.clip, int(camera.timestamps_us[image]))
        if index is not None:
            seen = project_to_image(self._points(camera, image, index), lens)
            _splat(depth_m, seen.uv[seen.visible], seen.depth[seen.visible])
        return np.repeat(brightness(depth_m)[..., None], 3, axis=-1)

    def _points(self, camera: CameraStream, image: int, index: int) -> np.ndarray:
        """Return the points of a sweep in axes of the camera at the time of an image."""
        if self.clip.world_SE3_lidar is None or camera.world_SE3_camera is None:
            return points_in_camera(self.clip, camera, index, image, self._cloud(index)[0])
        points = self._recent.get(index, lambda: points_in_world(self.clip, index, *self._cloud(index)))
        camera_SE3_world = np.linalg.inv(camera.world_SE3_camera[image])
        return points @ camera_SE3_world[:3, :3].T + camera_SE3_world[:3, 3]

    def _cloud(self, index: int) -> tuple[np.ndarray, np.ndarray | None]:
        sweep = self.clip.lidar.cloud(index)
        return np.zeros((0, 3)) if sweep.points is None else sweep.points, sweep.time_us


def nearest_sweep(clip: Clip, time_us: int) -> int | None:
    """Return the sweep of the main lidar whose middle is nearest; None where that is farther away than one takes."""
    middles = clip.timestamps_us.mean(1)
    index = int(nearest_numbers(middles, np.array([time_us]))[0])
    steps = np.diff(middles) if len(middles) > 1 else np.diff(clip.timestamps_us[0])
    return index if abs(middles[index] - time_us) <= np.median(steps) else None


def brightness(depth_m: np.ndarray) -> np.ndarray:
    """Return uint8 of depths in meters: linear in their logarithm, 255 at 1 m, 55 from 120 m on, 0 at infinity."""
    near = np.log(np.clip(depth_m, NEAREST_M, FARTHEST_M) / NEAREST_M) / np.log(FARTHEST_M / NEAREST_M)
    shades = np.rint(BRIGHTEST - (BRIGHTEST - DARKEST) * near)
    return np.where(np.isfinite(depth_m), shades, 0).astype(np.uint8)


def _splat(depth_m: np.ndarray, uv: np.ndarray, depth: np.ndarray) -> None:
    """Draw points as squares into an image of depths; the nearest one counts."""
    height, width = depth_m.shape
    side = max(1, round(width / _DOT))
    first = np.floor(uv + 0.5 - (side - 1) / 2).astype(int)
    for down in range(side):
        for right in range(side):
            column, row = first[:, 0] + right, first[:, 1] + down
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            np.minimum.at(depth_m, (row[inside], column[inside]), depth[inside].astype(np.float32))


def _open(clip: Clip) -> LidarDepth:
    clip.lidar  # noqa: B018 - refuses a recording of cameras alone
    return LidarDepth(clip)


CONTROL = Control("depth", "depth of the main lidar's returns", _open)
