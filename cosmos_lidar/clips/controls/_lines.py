"""Lines in the view of a camera: projected point by point, as lenses bend them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cosmos_lidar.clips.fit_images import Lens

_BEYOND = 2.0  # image sizes that a line is drawn beyond the image
_LEAST_DEPTH_M = 0.1

Pixel = tuple[float, float]


def project_line(lens: Lens, points: np.ndarray) -> np.ndarray:
    """Return pixels (N, 2) of points (N, 3) in axes of the camera; NaN behind it, and far beyond the image."""
    uv, depth = lens.project(points)
    size = np.array([lens.width, lens.height])
    with np.errstate(invalid="ignore"):
        near = (depth > _LEAST_DEPTH_M) & (np.abs(uv - size / 2) < (0.5 + _BEYOND) * size).all(-1)
    return np.where(near[:, None], uv, np.nan)


def segments(uv: np.ndarray) -> Iterator[tuple[int, Pixel, Pixel]]:
    """Yield the number of each piece of a line and its two ends, of pieces that can be drawn."""
    known = np.isfinite(uv).all(-1)
    for place in np.flatnonzero(known[:-1] & known[1:]).tolist():
        (a, b), (c, d) = uv[place].tolist(), uv[place + 1].tolist()
        yield place, (a, b), (c, d)
