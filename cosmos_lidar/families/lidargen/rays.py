"""The ray of each token of a canvas: origin and direction, from calibrations.

They are given in lidar axes, or in those of the vehicle where the sensor file has the lidar's place on it: a network
then has the height of the lidar above the road, and several lidars can share one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cosmos_lidar.clips.rig import MountedCamera
from cosmos_lidar.families.lidargen.canvas import CanvasLayout
from cosmos_lidar.models.dit.rays import RAY
from cosmos_lidar.sensors import Sensor, ray_directions
from cosmos_lidar.sensors.camera_rays import camera_rays


def canvas_rays(
    cameras: Sequence[MountedCamera],
    sensor: Sensor,
    layout: CanvasLayout,
    image_size: tuple[int, int],
    steps: tuple[int, int],
    mirrored: bool = False,
) -> np.ndarray:
    """Return the rays (1 + views, rows, columns, 6) float32 of the tokens of a canvas.

    Args:
        cameras: in the order of the slots.
        sensor: the lidar; its place on the vehicle, where known, gives the axes.
        layout: of the canvas.
        image_size: (height, width) that images are scaled and cut to.
        steps: pixels that one latent stands for: of a range map, of an image.
        mirrored: of the frame as a mirror shows it; the lidar's place on the vehicle stays as it is.
    """
    merged = sensor.columns // sensor.format.pair_columns
    lidar = lidar_rays(sensor, (merged - layout.lidar[1] * steps[0]) // 2, layout.lidar, steps[0])
    images = [camera_rays(one.model, one.lidar_SE3_camera, image_size, 2 * steps[1]) for one in cameras]
    placed = place_rays(lidar, images, layout)
    return in_vehicle_axes(mirror_rays(placed, sensor, layout) if mirrored else placed, sensor)


def place_rays(lidar: np.ndarray, images: list[np.ndarray], layout: CanvasLayout, patch: int = 2) -> np.ndarray:
    """Return (1 + views, rows, columns, 6) float32 for the tokens of a canvas; 0 where nothing lies.

    Args:
        lidar: (rows, columns, 6) of the tokens of the range map.
        images: the same of each image.
        layout: of the canvas.
        patch: latents of a token, along rows and columns.
    """
    rows, columns = (side // patch for side in layout.size)
    placed = np.zeros((1 + layout.views, rows, columns, RAY), np.float32)
    for slot, rays in enumerate([lidar, *images]):
        placed[slot, : rays.shape[0], : rays.shape[1]] = rays
    return placed


def lidar_rays(sensor: Sensor, first_column: int, latents: tuple[int, int], step: int, patch: int = 2) -> np.ndarray:
    """Return (rows, columns, 6) of the tokens of a range map: the mean direction of the pixels of each, origin 0.

    Args:
        sensor: the lidar.
        first_column: of the cut, in merged columns.
        latents: (rows, columns) of the latent range map.
        step: pixels of a latent.
        patch: latents of a token.
    """
    merged = sensor.columns // sensor.format.pair_columns
    whole = ray_directions(sensor, latents[1] * step, "centre", first_column, merged)
    pixels = np.repeat(whole, sensor.format.repeat_rows, axis=0)[: latents[0] * step]
    mean = _token_means(pixels, step * patch)
    mean = mean / np.linalg.norm(mean, axis=-1, keepdims=True)
    return np.concatenate([np.zeros_like(mean), mean], axis=-1).astype(np.float32)


def mirror_rays(rays: np.ndarray, sensor: Sensor, layout: CanvasLayout, patch: int = 2) -> np.ndarray:
    """Return the rays (1 + views, rows, columns, 6) of a frame as a mirror shows it.

    The mirror stands upright in the middle of the range map, so that the map and the images are turned about from
    left to right; images are in their slots as before. Rays are in lidar axes.

    Args:
        rays: of the frame as it is.
        sensor: the lidar.
        layout: of the canvas.
        patch: latents of a token.
    """
    turn = -1.0 if sensor.clockwise else 1.0
    azimuth = sensor.first_azimuth_rad + turn * (sensor.field_of_view_rad / 2.0)
    across = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    mirrored = np.zeros_like(rays)
    for slot, width in enumerate((layout.lidar[1], *[layout.image[1]] * layout.views)):
        columns = -(-width // patch)
        there = rays[slot, :, :columns][:, ::-1].reshape(-1, 2, 3)
        there = there - 2.0 * (there @ across)[..., None] * across
        mirrored[slot, :, :columns] = there.reshape(rays.shape[1], columns, RAY)
    return mirrored


def in_vehicle_axes(rays: np.ndarray, sensor: Sensor) -> np.ndarray:
    """Return rays (1 + views, rows, columns, 6) in the axes of the vehicle; as they are where no pose is known.

    Args:
        rays: of a canvas, in lidar axes; those of tokens in which nothing lies are 0, and stay so.
        sensor: the lidar, with its place on the vehicle.
    """
    pose = sensor.vehicle_SE3_lidar
    if pose is None:
        return rays
    there = rays[..., 3:].any(-1, keepdims=True)
    origin = np.where(there, rays[..., :3] @ pose[:3, :3].T + pose[:3, 3], 0.0)
    return np.concatenate([origin, rays[..., 3:] @ pose[:3, :3].T], axis=-1).astype(np.float32)


def _token_means(pixels: np.ndarray, side: int) -> np.ndarray:
    """Return means (rows, columns, 3) over squares of ``side`` pixels; the last ones may be smaller."""
    rows, columns = (-(-count // side) for count in pixels.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(pixels, np.arange(rows) * side, 0), np.arange(columns) * side, 1)
    return sums / side**2
