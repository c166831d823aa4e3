"""A pinhole camera without distortion; axes x right, y down, z forward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cosmos_lidar.errors import DataError


@dataclass(frozen=True)
class PinholeCamera:
    """Focal lengths, principal point and size of an image, all in pixels; pixel (0, 0) is the center of the first one.

    Attributes:
        fx: focal length along u.
        fy: focal length along v.
        cx: principal point along u.
        cy: principal point along v.
        width: columns of the image.
        height: rows of the image.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        if not (self.fx > 0 and self.fy > 0 and self.width > 0 and self.height > 0):
            raise DataError(f"not a camera: {self}", key="fx, fy, width, height", wanted="positive numbers")

    @classmethod
    def from_fov(cls, width: int, height: int, horizontal_fov_rad: float) -> PinholeCamera:
        """Return the camera whose image of ``width`` columns spans ``horizontal_fov_rad``, centered, square pixels."""
        focal = width / 2.0 / np.tan(horizontal_fov_rad / 2.0)
        return cls(focal, focal, (width - 1) / 2.0, (height - 1) / 2.0, width, height)

    def project(self, points_camera: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``(uv, depth)`` of points (..., 3): pixels (..., 2) and z (...), NaN pixels where z <= 0.

        Takes numpy arrays or torch tensors, and returns the same kind.
        """
        depth = points_camera[..., 2]
        safe = _nan_where(depth <= 0, depth)
        u = points_camera[..., 0] / safe * self.fx + self.cx
        v = points_camera[..., 1] / safe * self.fy + self.cy
        return _stack(u, v), depth

    def unproject(self, uv: np.ndarray) -> np.ndarray:
        """Return the unit rays (..., 3) that pixels ``uv`` (..., 2) look along; numpy or torch."""
        x, y = (uv[..., 0] - self.cx) / self.fx, (uv[..., 1] - self.cy) / self.fy
        scale = 1.0 / (1.0 + x * x + y * y) ** 0.5
        return _stack(x * scale, y * scale, scale)

    def resized(self, width: int, height: int) -> PinholeCamera:
        """Return this camera for its image resized to ``width`` x ``height``."""
        a, b = width / self.width, height / self.height
        cx, cy = (self.cx + 0.5) * a - 0.5, (self.cy + 0.5) * b - 0.5
        return PinholeCamera(self.fx * a, self.fy * b, cx, cy, width, height)


def _nan_where(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    if isinstance(values, np.ndarray | np.generic):
        return np.where(mask, np.nan, values)
    return values.masked_fill(mask, float("nan"))


def _stack(*parts: np.ndarray) -> np.ndarray:
    if isinstance(parts[0], np.ndarray | np.generic):
        return np.stack(parts, -1)
    import torch

    return torch.stack(parts, -1)
