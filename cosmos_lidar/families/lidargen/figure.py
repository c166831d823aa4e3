"""One image of a generated sweep: points on the views, range maps, and clouds in three dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cosmos_lidar.viz.images import caption_image, stack_images, to_uint8
from cosmos_lidar.viz.point_cloud import (
    ORIGINAL_COLOR,
    PUBLISHED_CUBE_M,
    RECONSTRUCTION_COLOR,
    height_colors,
    render_points,
)
from cosmos_lidar.viz.range_map import range_map_image

_VIEW_HEIGHT = 352
_CLOUD_SIZE = (960, 540)
_MAP_ROWS, _MAP_COLUMNS = 256, 1792  # the shape in which a map is shown, as published


@dataclass(frozen=True)
class SeenView:
    """An image and where points are in it.

    Attributes:
        name: of the camera.
        image: (H, W, 3) uint8.
        uv: (N, 2) pixels of the points that it shows.
        height_m: (N,) height of those points above the lidar.
        distance_m: (N,) how far they are.
    """

    name: str
    image: np.ndarray
    uv: np.ndarray
    height_m: np.ndarray
    distance_m: np.ndarray


def three_rows(
    views: Sequence[SeenView],
    made_m: np.ndarray,
    made_points: np.ndarray,
    recorded_m: np.ndarray | None = None,
    recorded_points: np.ndarray | None = None,
) -> np.ndarray:
    """Return (H, W, 3) uint8: the views with the points drawn on them, the range maps, both clouds from behind.

    Args:
        views: images, with the generated points in them.
        made_m: (rows, columns) generated range map, meters, 0 = no return.
        made_points: (N, 3) generated points.
        recorded_m: (rows, columns) recorded range map, drawn above the generated one.
        recorded_points: (M, 3) recorded points, drawn left of the generated ones.
    """
    clouds = [("recorded", recorded_points, ORIGINAL_COLOR), ("generated", made_points, RECONSTRUCTION_COLOR)]
    drawn = [_cloud(title, points, color) for title, points, color in clouds if points is not None]
    bottom = np.concatenate(drawn, axis=1)
    top = [np.concatenate([_view(view) for view in views], axis=1)] if views else []
    width = max(bottom.shape[1], made_m.shape[1], *(row.shape[1] for row in top))
    both = [("recorded", recorded_m), ("generated", made_m)]
    maps = [_map(title, range_m, width) for title, range_m in both if range_m is not None]
    return stack_images([*(scaled(row, width) for row in top), *maps, scaled(bottom, width)], gap_px=6)


def overlay(view: SeenView) -> np.ndarray:
    """Return the image (H, W, 3) uint8 with a dot for each point, colored by height; near ones hide far ones."""
    out = to_uint8(view.image) // 2
    size = max(round(out.shape[1] / 400), 1)
    order = np.argsort(-view.distance_m, kind="stable")
    corner = np.floor(view.uv[order] + 0.5 - (size - 1) / 2).astype(int)
    colors = height_colors(view.height_m[order])
    for down in range(size):
        for across in range(size):
            column, row = corner[:, 0] + across, corner[:, 1] + down
            inside = (column >= 0) & (row >= 0) & (column < out.shape[1]) & (row < out.shape[0])
            out[row[inside], column[inside]] = colors[inside]
    return out


def scaled(image: np.ndarray, width: int) -> np.ndarray:
    """Return an image resized to a width, its shape kept."""
    from PIL import Image

    height = max(round(image.shape[0] * width / image.shape[1]), 1)
    return np.asarray(Image.fromarray(to_uint8(image)).resize((width, height), Image.Resampling.LANCZOS))


def _map(title: str, range_m: np.ndarray, width: int) -> np.ndarray:
    times = max(width // range_m.shape[1], 1)  # pixels stay sharp
    rows = max(round(times * _MAP_ROWS / range_m.shape[0] * range_m.shape[1] / _MAP_COLUMNS), 1)
    image = np.repeat(range_map_image(range_m, bar=False, row_scale=rows), times, axis=1)
    return caption_image(scaled(image, width), title, 18, 6)


def _view(view: SeenView) -> np.ndarray:
    """Return the view in the height that it is shown in; points are drawn last, so that they stay dots."""
    factor = _VIEW_HEIGHT / view.image.shape[0]
    image = scaled(view.image, round(view.image.shape[1] * factor))
    shown = SeenView(view.name, image, (view.uv + 0.5) * factor - 0.5, view.height_m, view.distance_m)
    return caption_image(overlay(shown), view.name, 18, 6)


def _cloud(title: str, points: np.ndarray, color: tuple[float, float, float]) -> np.ndarray:
    image = render_points(points, color, *_CLOUD_SIZE, cube_m=PUBLISHED_CUBE_M, point_px=2)
    return caption_image(image, f"{title}, {len(points):,} points", 18, 8)
