"""A pinhole camera, with or without lens distortion; axes x right, y down, z forward.

Distortion is that of OpenCV, with five coefficients k1 k2 p1 p2 k3 (Brown and Conrady): a ray (x, y, 1) with
r2 = x^2 + y^2 is seen where an undistorted lens sees

    x' = x g + 2 p1 x y + p2 (r2 + 2 x^2),    y' = y g + p1 (r2 + 2 y^2) + 2 p2 x y,
    g = 1 + k1 r2 + k2 r2^2 + k3 r2^3.

Where r g stops to rise with r, rays far outside the image come back into it: they count as not seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cosmos_lidar.errors import DataError

_STEPS = 20  # of Newton's method; a handful is enough inside an image


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
        distortion: k1, k2, p1, p2, k3; empty for none.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (self.fx > 0 and self.fy > 0 and self.width > 0 and self.height > 0):
            raise DataError(f"not a camera: {self}", key="fx, fy, width, height", wanted="positive numbers")
        if len(self.distortion) not in (0, 5) or not np.isfinite(self.distortion).all():
            raise DataError(f"distortion {self.distortion}", key="distortion", wanted="k1, k2, p1, p2, k3, or none")

    @classmethod
    def from_fov(cls, width: int, height: int, horizontal_fov_rad: float) -> PinholeCamera:
        """Return the camera whose image of ``width`` columns spans ``horizontal_fov_rad``, centered, square pixels."""
        focal = width / 2.0 / np.tan(horizontal_fov_rad / 2.0)
        return cls(focal, focal, (width - 1) / 2.0, (height - 1) / 2.0, width, height)

    @property
    def matrix(self) -> np.ndarray:
        """The intrinsic matrix K (3, 3)."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def project(self, points_camera: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``(uv, depth)`` of points (..., 3): pixels (..., 2) and z (...), NaN pixels where z <= 0.

        With distortion pixels are NaN, too, for rays beyond the angle at which the distortion turns back.
        Takes numpy arrays or torch tensors, and returns the same kind.
        """
        depth = points_camera[..., 2]
        safe = _nan_where(depth <= 0, depth)
        x, y = points_camera[..., 0] / safe, points_camera[..., 1] / safe
        if any(self.distortion):
            x = _nan_where(x * x + y * y > _farthest_r2(self.distortion), x)
            x, y = _distorted(x, y, self.distortion)
        return _stack(x * self.fx + self.cx, y * self.fy + self.cy), depth

    def unproject(self, uv: np.ndarray) -> np.ndarray:
        """Return the unit rays (..., 3) that pixels ``uv`` (..., 2) look along; numpy or torch."""
        x, y = (uv[..., 0] - self.cx) / self.fx, (uv[..., 1] - self.cy) / self.fy
        if any(self.distortion):
            x, y = _undistorted(x, y, self.distortion)
        scale = 1.0 / (1.0 + x * x + y * y) ** 0.5
        return _stack(x * scale, y * scale, scale)

    def resized(self, width: int, height: int) -> PinholeCamera:
        """Return this camera for its image resized to ``width`` x ``height``."""
        a, b = width / self.width, height / self.height
        cx, cy = (self.cx + 0.5) * a - 0.5, (self.cy + 0.5) * b - 0.5
        return PinholeCamera(self.fx * a, self.fy * b, cx, cy, width, height, self.distortion)


def _distorted(x: np.ndarray, y: np.ndarray, distortion: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    k1, k2, p1, p2, k3 = distortion
    r2, xy = x * x + y * y, x * y
    gain = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return x * gain + 2 * p1 * xy + p2 * (r2 + 2 * x * x), y * gain + p1 * (r2 + 2 * y * y) + 2 * p2 * xy


def _undistorted(x: np.ndarray, y: np.ndarray, distortion: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the ray that is seen at (x, y), by Newton's method in two dimensions."""
    k1, k2, p1, p2, k3 = distortion
    seen_x, seen_y = x, y
    for _ in range(_STEPS):
        r2 = x * x + y * y
        gain, slope = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3)), k1 + r2 * (2 * k2 + 3 * k3 * r2)  # g, dg / dr2
        at_x, at_y = _distorted(x, y, distortion)
        miss_x, miss_y = at_x - seen_x, at_y - seen_y
        xx = gain + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
        xy = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y  # the matrix of derivatives is symmetric
        yy = gain + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
        determinant = xx * yy - xy * xy
        x, y = x - (yy * miss_x - xy * miss_y) / determinant, y - (xx * miss_y - xy * miss_x) / determinant
    return x, y


@lru_cache(maxsize=64)
def _farthest_r2(distortion: tuple[float, ...]) -> float:
    """Return the r2 at which r g(r2) stops to rise; infinity where it never does."""
    k1, k2, _, _, k3 = distortion
    roots = np.roots([7 * k3, 5 * k2, 3 * k1, 1.0])  # of d(r g) / dr, in r2
    real = [float(root.real) for root in roots if abs(root.imag) < 1e-9 * max(1.0, abs(root)) and root.real > 0]
    return min(real, default=float("inf"))


def _nan_where(mask: np.ndarray, values: np.ndarray) -> np.ndarray:
    if isinstance(values, np.ndarray | np.generic):
        return np.where(mask, np.nan, values)
    return values.masked_fill(mask, float("nan"))


def _stack(*parts: np.ndarray) -> np.ndarray:
    if isinstance(parts[0], np.ndarray | np.generic):
        return np.stack(parts, -1)
    import torch

    return torch.stack(parts, -1)
