"""Photographs of a scene through any camera: color, depth and semantic classes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cosmos_lidar.sensors.ftheta import FThetaCamera
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.synth.labels import Material
from cosmos_lidar.synth.primitives import Primitives
from cosmos_lidar.synth.rays import NOTHING, RayTiles, cast, patches
from cosmos_lidar.synth.surface import Surface, look_up
from cosmos_lidar.synth.town import Scene

Camera = FThetaCamera | PinholeCamera
VIEW_M = 250.0
_PATCH = 16
_BLOCKS = patches(_PATCH, _PATCH, 4, 4)
_SUN, _SKY_LIGHT, _BOUNCE = np.array([1.0, 0.95, 0.86]), np.array([0.42, 0.48, 0.58]), np.array([0.16, 0.15, 0.13])
_ZENITH, _HORIZON = np.array([0.28, 0.48, 0.80]), np.array([0.74, 0.82, 0.90])


@dataclass(frozen=True)
class CameraImage:
    """One photograph.

    Attributes:
        rgb: (H, W, 3) uint8.
        depth_m: (H, W) float32 z of the camera axes, meters; inf where there is only sky.
        labels: (H, W) uint16 semantic classes, 0 for sky.
    """

    rgb: np.ndarray
    depth_m: np.ndarray
    labels: np.ndarray


def render(
    scene: Scene,
    camera: Camera,
    world_SE3_camera: np.ndarray,
    time_s: float,
    shadows: bool = True,
    bodies: Primitives | None = None,
) -> CameraImage:
    """Return what ``camera`` sees.

    Args:
        scene: the street.
        camera: the lens, which also gives the size of the image.
        world_SE3_camera: (4, 4), camera axes x right, y down, z forward.
        time_s: moment of the photograph (no motion blur, no rolling shutter).
        shadows: cast the sun's shadows, for about twice the time.
        bodies: ``scene.at(time_s)``, where it is there already.
    """
    bodies = scene.at(time_s) if bodies is None else bodies
    pixels, view = _view_rays(camera)
    direction = np.einsum("ij,tjk->tik", world_SE3_camera[:3, :3].astype(np.float32), view)
    rays = np.ascontiguousarray(np.stack((np.zeros_like(direction), direction), 2))
    tiles = RayTiles(rays, None, world_SE3_camera[:3, 3].astype(np.float64), pixels, _BLOCKS)
    hits = cast(tiles, bodies, scene.terrain, VIEW_M)
    found = look_up(tiles, hits, bodies, scene.terrain)
    lit = _sunlit(scene, bodies, tiles, found, hits.body.shape) if shadows else np.ones(len(found.ray), np.float32)
    color = _sky(direction.transpose(0, 2, 1).reshape(-1, 3), scene.sun)
    color[found.ray] = _shade(found, color[found.ray], scene.sun, lit)
    depth = np.full(pixels.size, np.inf, np.float32)
    depth[found.ray] = found.distance_m * view.transpose(0, 2, 1).reshape(-1, 3)[found.ray, 2]
    labels = np.zeros(pixels.size, np.uint16)
    labels[found.ray] = found.label
    shape, flat = (camera.height, camera.width), pixels.reshape(-1)
    image = CameraImage(np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.float32), np.zeros(shape, np.uint16))
    image.rgb.reshape(-1, 3)[flat] = (np.clip(color, 0, 1) ** (1 / 1.9) * 255 + 0.5).astype(np.uint8)
    image.depth_m.reshape(-1)[flat], image.labels.reshape(-1)[flat] = depth, labels
    return image


@lru_cache(maxsize=8)
def _view_rays(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Return (T, K) pixels and (T, 3, K) float32 unit rays in camera axes, through the pixel centers."""
    pixels = patches(camera.height, camera.width, _PATCH, _PATCH)
    uv = np.stack((pixels % camera.width, pixels // camera.width), -1).astype(np.float64)
    return pixels, camera.unproject(uv).transpose(0, 2, 1).astype(np.float32)


def _sunlit(scene: Scene, bodies: Primitives, tiles: RayTiles, found: Surface, shape: tuple[int, int]) -> np.ndarray:
    """Return (M,) 1 where the sun reaches the hit, 0 in shadow; the ground itself casts no shadow."""
    start = np.zeros((3, shape[0] * shape[1]), np.float32)
    start[:, found.ray] = found.point + 0.03 * found.normal
    seen = np.zeros(shape[0] * shape[1], bool)
    seen[found.ray] = scene.sun.astype(np.float32) @ found.normal > 0  # the rest is dark by itself
    some = np.flatnonzero(seen.reshape(shape).any(1))
    start = start.reshape(3, *shape)[:, some].transpose(1, 0, 2).copy()
    missing = ~seen.reshape(shape)[some]
    middle = (start * ~missing[:, None]).sum(2) / np.maximum((~missing).sum(1), 1)[:, None]
    start = np.where(missing[:, None], middle[:, :, None], start)
    direction = np.broadcast_to(scene.sun.astype(np.float32)[None, :, None], start.shape)
    rays = np.ascontiguousarray(np.stack((start, direction), 2))
    sun_rays = RayTiles(rays, None, tiles.anchor, tiles.pixels[some], tiles.blocks)
    body = cast(sun_rays, bodies, None, VIEW_M, needed=~missing).body
    lit = np.ones(shape, np.float32)
    lit[some] = body == NOTHING
    return lit.reshape(-1)[found.ray]


def _sky(direction: np.ndarray, sun: np.ndarray) -> np.ndarray:
    """Return (N, 3) colors of the sky: a gradient, and a glow around the sun."""
    up = np.clip(direction[:, 2:3], 0, 1) ** 0.55
    glow = np.clip(direction @ sun.astype(np.float32), 0, 1)[:, None]
    sky = _HORIZON + (_ZENITH - _HORIZON) * up + 0.25 * glow**24 + (glow > 0.9996) * 1.0
    return (sky**1.9).astype(np.float32)


def _shade(found: Surface, behind: np.ndarray, sun: np.ndarray, lit: np.ndarray) -> np.ndarray:
    """Return (M, 3) linear light: sun, sky and bounce by the normal, a sheen on glass and paint, haze with distance."""
    sunny = np.clip(sun.astype(np.float32) @ found.normal, 0, None) * lit
    up = 0.5 + 0.5 * found.normal[2]
    light = sunny[:, None] * _SUN + up[:, None] * _SKY_LIGHT + (1 - up)[:, None] * _BOUNCE
    color = found.color**1.6 * light * _leafy(found)[:, None]
    sheen = np.zeros(256, np.float32)
    sheen[Material.GLASS], sheen[Material.PAINT] = 0.55, 0.16
    gloss = sheen[found.material] * (0.12 + 0.88 * (1 - found.cosine) ** 3)
    color += gloss[:, None] * (0.6 * _HORIZON)
    haze = (1 - np.exp(-found.distance_m / 600.0))[:, None]
    return color * (1 - haze) + haze * (_HORIZON**1.9)


def _leafy(found: Surface) -> np.ndarray:
    """Return (M,) brightness: foliage speckled with light and dark at the scale of twigs, everything else 1."""
    brightness = np.ones(len(found.ray), np.float32)
    leaves = np.flatnonzero(found.material == Material.LEAVES)
    x, y, z = found.point[:, leaves] * 7.0
    speckle = (
        np.sin(x + 2.1 * np.sin(1.7 * y)) * np.sin(1.3 * y + 1.9 * np.sin(z)) * np.sin(1.1 * z + 1.7 * np.sin(1.9 * x))
    )
    brightness[leaves] = 0.85 + 0.75 * speckle
    return brightness
