"""Lenses of ``CameraInfo`` messages: pinholes with the distortion of OpenCV's five coefficients (``plumb_bob``).

``K`` and ``D`` are those of the image as the camera takes it; topics whose name starts with ``image_rect`` hold images
without distortion, whose matrix is ``P``. Pixel (0, 0) is the center of the first one, as ours is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.pinhole import PinholeCamera

_LARGEST = 1e6  # of a coefficient


def is_rectified(topic: str) -> bool:
    """Return whether a topic holds rectified images: ``/cam/image_rect_color`` and ``/cam/image_rect/compressed``."""
    names = topic.split("/")
    last = names[-2] if names[-1] == "compressed" and len(names) > 1 else names[-1]
    return last.startswith("image_rect")


def lens_of(message: Any, rectified: bool) -> tuple[PinholeCamera | None, str | None]:
    """Return the lens of a ``CameraInfo`` and what is wrong with it; None for a lens that is not modeled.

    Args:
        message: of ROS 1 (``K``, ``D``) or 2 (``k``, ``d``).
        rectified: the images have no distortion any more.
    """
    matrix, distortion, projection = (_numbers(message, key) for key in ("k", "d", "p"))
    size = int(message.width), int(message.height)
    if rectified and len(projection) == 12 and projection[0] > 0:
        matrix = projection[[0, 1, 2, 4, 5, 6, 8, 9, 10]]
    if len(matrix) != 9 or not np.isfinite(matrix).all() or not (matrix[0] > 0 and matrix[4] > 0 and min(size) > 0):
        return None, "no calibration, the matrix is empty"
    fx, fy, cx, cy = (float(matrix[place]) for place in (0, 4, 2, 5))
    bent: tuple[float, ...] = ()
    if not rectified and np.any(distortion):
        model = str(message.distortion_model)
        if not (np.isfinite(distortion).all() and np.abs(distortion).max() < _LARGEST):
            return None, f"no lens, coefficients of distortion {distortion.tolist()!r:.80}"
        if model not in ("plumb_bob", "rational_polynomial") or any(distortion[5:]):
            return None, f"no lens, distortion {model!r:.40} with {len(distortion)} coefficients is not modeled"
        bent = tuple(np.pad(distortion[:5], (0, max(0, 5 - len(distortion)))).tolist())
    try:
        return PinholeCamera(fx, fy, cx, cy, *size, distortion=bent), None
    except DataError as error:
        return None, f"no lens, {error.problem}"


def _numbers(message: Any, key: str) -> np.ndarray:
    return np.asarray(getattr(message, key, getattr(message, key.upper(), ())), np.float64).ravel()
