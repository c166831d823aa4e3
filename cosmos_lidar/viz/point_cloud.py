"""Software rendering of point clouds to images; no display or GPU needed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from cosmos_lidar.errors import UserError
from cosmos_lidar.viz.colormap import apply_colormap
from cosmos_lidar.viz.images import to_uint8
from cosmos_lidar.viz.range_map import range_colors

ORIGINAL_COLOR = (1.0, 0.706, 0.0)
RECONSTRUCTION_COLOR = (0.0, 0.651, 0.929)
_NEAR_PLANE_M = 0.1


@dataclass(frozen=True)
class View:
    """Camera view of a point cloud, in meters in the frame of the points.

    Attributes:
        eye_m: position of the eye.
        target_m: the point in the middle of the image.
        up: direction that is up in the image.
        field_of_view_rad: angle between the upper and the lower edge of the image.
    """

    eye_m: tuple[float, float, float]
    target_m: tuple[float, float, float]
    up: tuple[float, float, float] = (0.0, 0.0, 1.0)
    field_of_view_rad: float = math.radians(45.0)


# The published images show a cube of +-100 m with its edge as unit: eye (-0.3, 0, 0.2), center (0.1, 0, 0).
PUBLISHED_VIEW = View(eye_m=(-60.0, 0.0, 40.0), target_m=(20.0, 0.0, 0.0))
PUBLISHED_CUBE_M = 100.0


def project_view(points: np.ndarray, view: View, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 2) float32 pixel positions (column, row) and (N,) depths in meters; depth <= 0 lies behind the eye.

    The center of the upper left pixel is at (0.5, 0.5).
    """
    eye, target = np.asarray(view.eye_m, np.float64), np.asarray(view.target_m, np.float64)
    forward = (target - eye) / max(np.linalg.norm(target - eye), 1e-9)
    right = np.cross(forward, view.up)
    right /= max(np.linalg.norm(right), 1e-9)
    axes = np.stack([right, np.cross(forward, right), forward]).astype(np.float32)
    local = (points[:, :3] - eye.astype(np.float32)) @ axes.T
    depth = local[:, 2]
    focal_px = height / 2.0 / math.tan(view.field_of_view_rad / 2.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = local[:, :2] * (focal_px / depth)[:, None]
    return pixels + np.float32([width / 2.0, height / 2.0]), depth


def render_points(
    points: np.ndarray,
    colors: np.ndarray | tuple[float, float, float] | None = None,
    width: int = 1280,
    height: int = 720,
    *,
    view: View = PUBLISHED_VIEW,
    cube_m: float | None = PUBLISHED_CUBE_M,
    point_px: int = 1,
    background: tuple[int, int, int] = (0, 0, 0),
) -> np.ndarray:
    """Return (height, width, 3) uint8: the points seen from ``view``; the nearest point of a pixel wins.

    Args:
        points: (N, >=3) meters.
        colors: (N, 3) or one color, uint8 or floats in [0, 1]; by range when None.
        width: of the image, in pixels.
        height: of the image, in pixels.
        view: eye, target and lens; the fixed view of the published images by default.
        cube_m: points with a coordinate beyond that are left out; None draws all.
        point_px: side of the square that a point covers.
        background: color where no point is.
    """
    points = _checked(points)
    rgb = point_colors(points, colors)
    pixels, depth = project_view(points, view, width, height)
    corner = np.floor(pixels - (point_px - 1) / 2.0)
    seen = (depth > _NEAR_PLANE_M) & np.all((corner > -point_px) & (corner < (width, height)), axis=1)
    if cube_m is not None:
        seen &= np.all(np.abs(points[:, :3]) <= cube_m, axis=1)
    return _splat(corner[seen].astype(np.int32), depth[seen], rgb[seen], (height, width), point_px, background)


def _checked(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, np.float32)
    if points.ndim != 2 or points.shape[1] < 3:
        raise UserError(f"points have the shape (N, 3 or more), this array {points.shape}")
    return points


def point_colors(points: np.ndarray, colors: np.ndarray | tuple[float, float, float] | None) -> np.ndarray:
    """Return (N, 3) uint8 colors of (N, >=3) points: the given ones, one for all, or by range when None."""
    if colors is None:
        return range_colors(np.linalg.norm(points[:, :3], axis=1))
    colors = np.asarray(colors)
    if colors.ndim == 1 and colors.shape == (3,):
        colors = np.broadcast_to(colors, (len(points), 3))
    if colors.shape != (len(points), 3):
        raise UserError(f"{len(points)} points need colors of shape ({len(points)}, 3) or (3,), not {colors.shape}")
    return to_uint8(colors[None])[0]


def _splat(
    corner: np.ndarray,
    depth: np.ndarray,
    rgb: np.ndarray,
    shape: tuple[int, int],
    point_px: int,
    background: tuple[int, int, int],
) -> np.ndarray:
    """Paint squares from far to near: of several values for one pixel, an indexed assignment keeps the last."""
    order = np.argsort(-depth, kind="stable")
    corner, rgb = corner[order], rgb[order]
    step = np.arange(point_px, dtype=np.int32)
    columns = (corner[:, 0, None, None] + step[None, None, :]).repeat(point_px, axis=1).reshape(-1)
    rows = (corner[:, 1, None, None] + step[None, :, None]).repeat(point_px, axis=2).reshape(-1)
    inside = (columns >= 0) & (columns < shape[1]) & (rows >= 0) & (rows < shape[0])
    image = np.empty((shape[0] * shape[1], 3), np.uint8)
    image[:] = background
    image[(rows * shape[1] + columns)[inside]] = np.repeat(rgb, point_px * point_px, axis=0)[inside]
    return image.reshape(*shape, 3)


def height_colors(z_m: np.ndarray, low_m: float = -2.5, high_m: float = 4.0, colormap: str = "turbo") -> np.ndarray:
    """Return (N, 3) uint8 colors of heights: the first color at ``low_m`` and below, the last from ``high_m`` up."""
    return (apply_colormap((np.asarray(z_m) - low_m) / (high_m - low_m), colormap) * 255.0 + 0.5).astype(np.uint8)


def bird_view_image(
    points: np.ndarray,
    *,
    colors: np.ndarray | tuple[float, float, float] | None = None,
    half_extent_m: float = 50.0,
    size_px: int = 800,
    point_px: int = 1,
    ring_step_m: float | None = None,
    background: tuple[int, int, int] = (16, 18, 23),
) -> np.ndarray:
    """Return (size_px, size_px, 3) uint8: the points from above, driving direction up, sensor in the middle.

    Args:
        points: (N, >=3) meters, x forward, y left, z up; of several points in a pixel the highest is drawn.
        colors: (N, 3) or one color, uint8 or floats in [0, 1]; by height when None.
        half_extent_m: distance from the sensor to the edges of the image.
        size_px: width and height of the image.
        point_px: side of the square that a point covers.
        ring_step_m: distance between range rings; a fifth of the extent, rounded, when None; 0 for none.
        background: color where no point is.
    """
    points = _checked(points)
    rgb = height_colors(points[:, 2]) if colors is None else point_colors(points, colors)
    scale = size_px / 2.0 / half_extent_m
    pixels = np.stack([size_px / 2.0 - points[:, 1] * scale, size_px / 2.0 - points[:, 0] * scale], axis=1)
    corner = np.floor(pixels - (point_px - 1) / 2.0)
    seen = np.all((corner > -point_px) & (corner < size_px), axis=1)
    image = _splat(corner[seen].astype(np.int32), -points[seen, 2], rgb[seen], (size_px, size_px), point_px, background)
    step = ring_step_m if ring_step_m is not None else max(round(half_extent_m / 5.0 / 5.0) * 5.0, 1.0)
    return _draw_rings(image, np.all(image == background, axis=2), scale, half_extent_m, step)


def _draw_rings(image: np.ndarray, empty: np.ndarray, scale: float, half_extent_m: float, step_m: float) -> np.ndarray:
    """Draw rings, their distances and the sensor; rings stay behind the points."""
    from PIL import Image, ImageDraw

    from cosmos_lidar.viz.images import font

    canvas = Image.fromarray(image)
    pen, middle = ImageDraw.Draw(canvas), image.shape[0] / 2.0
    for radius_m in np.arange(step_m, half_extent_m, step_m) if step_m > 0 else ():
        r = radius_m * scale
        pen.ellipse((middle - r, middle - r, middle + r, middle + r), outline=(62, 68, 80))
    out = np.where(empty[..., None], np.asarray(canvas), image)
    canvas = Image.fromarray(out)
    pen = ImageDraw.Draw(canvas)
    for radius_m in np.arange(step_m, half_extent_m, step_m) if step_m > 0 else ():
        at = (middle + radius_m * scale * 0.7071 + 3, middle - radius_m * scale * 0.7071 - 3)
        pen.text(at, f"{radius_m:g} m", fill=(170, 178, 192), font=font(11), anchor="ls")
    pen.polygon([(middle, middle - 8), (middle - 5, middle + 6), (middle + 5, middle + 6)], fill=(255, 255, 255))
    return np.array(canvas)
