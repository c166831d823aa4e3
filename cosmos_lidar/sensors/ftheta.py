"""The f-theta (fisheye) camera of the published recordings: pixel radius and viewing angle as polynomials."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cosmos_lidar.errors import DataError

_FIT_SAMPLES = 500
_ANGLE_STEP_RAD = math.pi / 2000


@dataclass(frozen=True)
class FThetaCamera:
    """An f-theta camera; axes x right, y down, z forward.

    Attributes:
        cx: principal point along u, pixels.
        cy: principal point along v, pixels.
        width: columns of the image.
        height: rows of the image.
        polynomial: coefficients of rising order, the constant first.
        is_backward: the polynomial maps pixel radius to angle (radians); otherwise angle to pixel radius.
        linear: (c, d, e) of the 14-value vectors: pixel offset = [[c, d], [e, 1]] @ radial offset.
    """

    cx: float
    cy: float
    width: int
    height: int
    polynomial: tuple[float, ...]
    is_backward: bool
    linear: tuple[float, float, float] = (1.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        c, d, e = self.linear
        if self.width <= 0 or self.height <= 0 or abs(c - e * d) < 1e-9:
            raise DataError(
                f"not a camera: {self}", key="ftheta_intrinsic", wanted="positive size, invertible linear part"
            )
        if self._slope_px(self.max_angle_rad) < 0:
            raise DataError(
                f"the pixel radius falls at the image's corner ({math.degrees(self.max_angle_rad):.1f} deg)",
                key="ftheta_intrinsic", wanted="a polynomial that grows over the whole image",
            )  # fmt: skip

    @classmethod
    def from_vector(cls, vector: np.ndarray) -> FThetaCamera:
        """Return the camera of a published intrinsics vector.

        Args:
            vector: ``[cx, cy, width, height, k0..k5, is_backward]``, or that followed by the linear part ``c, d, e``.

        Raises:
            DataError: another length, not finite, or not a camera.
        """
        vector = np.asarray(vector, np.float64).reshape(-1)
        if len(vector) not in (11, 14) or not np.all(np.isfinite(vector)):
            raise DataError(
                f"{len(vector)} intrinsics" + ("" if np.all(np.isfinite(vector)) else ", some not finite"),
                key="ftheta_intrinsic",
                wanted="11 or 14 finite numbers: cx, cy, width, height, k0..k5, is_backward[, c, d, e]",
            )  # fmt: skip
        c, d, e = (float(v) for v in vector[11:14]) if len(vector) == 14 else (1.0, 0.0, 0.0)
        polynomial = tuple(float(v) for v in vector[4:10])
        return cls(
            float(vector[0]), float(vector[1]), int(vector[2]), int(vector[3]), polynomial, bool(vector[10] > 0),
            (c, d, e),
        )  # fmt: skip

    def to_vector(self) -> np.ndarray:
        """Return the (11,) float64 intrinsics, or (14,) where the linear part is not the identity."""
        polynomial = list(self.polynomial) + [0.0] * (6 - len(self.polynomial))
        vector = [self.cx, self.cy, self.width, self.height, *polynomial, float(self.is_backward)]
        return np.array(vector + ([] if self.linear == (1.0, 0.0, 0.0) else list(self.linear)), np.float64)

    @cached_property
    def forward_polynomial(self) -> np.ndarray:
        """Coefficients angle (radians) -> pixel radius, rising order: given, or fitted to the backward polynomial."""
        return self._inverse_fit() if self.is_backward else np.asarray(self.polynomial)

    @cached_property
    def backward_polynomial(self) -> np.ndarray:
        """Coefficients pixel radius -> angle (radians), rising order: given, or fitted to the forward polynomial."""
        return np.asarray(self.polynomial) if self.is_backward else self._inverse_fit()

    @cached_property
    def max_angle_rad(self) -> float:
        """Largest viewing angle of the four corner pixels; beyond it the radius grows linearly."""
        corners = [(u, v) for u in (0.0, self.width - 1.0) for v in (0.0, self.height - 1.0)]
        return float(_polynomial(self.backward_polynomial, np.hypot(*self._radial(np.array(corners)))).max())

    def project(self, points_camera: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``(uv, depth)`` of points (..., 3): pixels (..., 2) and z (...); numpy or torch, the same kind back.

        Points beyond the image, also behind the camera, are extrapolated: keep those inside the image with z > 0.
        """
        xp = _namespace(points_camera)
        x, y, z = points_camera[..., 0], points_camera[..., 1], points_camera[..., 2]
        rho = xp.hypot(x, y)
        angle = xp.arctan2(rho, z)  # acos(z / |p|) without its loss of digits near the axis
        inside = xp.minimum(angle, xp.full_like(angle, self.max_angle_rad))
        radius = _polynomial(self.forward_polynomial, inside) + (angle - inside) * self._slope_px(self.max_angle_rad)
        scale = radius / xp.where(rho > 0, rho, xp.ones_like(rho))
        du, dv = x * scale, y * scale
        c, d, e = self.linear
        return xp.stack((c * du + d * dv + self.cx, e * du + dv + self.cy), -1), z

    def unproject(self, uv: np.ndarray) -> np.ndarray:
        """Return the unit rays (..., 3) that pixels ``uv`` (..., 2) look along; numpy or torch."""
        xp = _namespace(uv)
        du, dv = self._radial(uv)
        radius = xp.hypot(du, dv)
        angle = _polynomial(self.backward_polynomial, radius)
        scale = xp.sin(angle) / xp.where(radius > 0, radius, xp.ones_like(radius))
        return xp.stack((du * scale, dv * scale, xp.cos(angle)), -1)

    def resized(self, width: int, height: int) -> FThetaCamera:
        """Return this camera for its image resized to ``width`` x ``height`` (the aspect may change)."""
        a, b = width / self.width, height / self.height
        order = np.arange(len(self.polynomial))
        polynomial = np.asarray(self.polynomial) * (b**-order if self.is_backward else b)
        c, d, e = self.linear
        return FThetaCamera(
            (self.cx + 0.5) * a - 0.5, (self.cy + 0.5) * b - 0.5, width, height,
            tuple(float(v) for v in polynomial), self.is_backward, (c * a / b, d * a / b, e),
        )  # fmt: skip

    def _radial(self, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Offsets from the principal point with the linear part undone."""
        du, dv = uv[..., 0] - self.cx, uv[..., 1] - self.cy
        c, d, e = self.linear
        determinant = c - e * d
        return (du - d * dv) / determinant, (c * dv - e * du) / determinant

    def _slope_px(self, angle_rad: float) -> float:
        order = np.arange(1, len(self.forward_polynomial))
        return float((self.forward_polynomial[1:] * order * angle_rad ** (order - 1)).sum())

    def _inverse_fit(self) -> np.ndarray:
        """Least-squares polynomial without constant term through the swapped pairs of the given one, as float32."""
        given = np.asarray(self.polynomial)
        argument = np.linspace(0.0, self._largest_argument(), _FIT_SAMPLES)
        value = _polynomial(given, argument)
        degree = 4 if len(given) == 5 else 5
        unit = max(float(np.abs(value).max()), 1e-12)  # powers of pixels up to 1e16 would spoil the conditioning
        powers = (value[:, None] / unit) ** np.arange(1, degree + 1)
        fitted = np.linalg.lstsq(powers, argument, rcond=None)[0] / unit ** np.arange(1, degree + 1)
        return np.concatenate(([0.0], fitted)).astype(np.float32).astype(np.float64)

    def _largest_argument(self) -> float:
        """Largest radius (backward) or angle (forward) that a pixel can have and the polynomial grows up to."""
        corners = np.array([(u, v) for u in (0.0, self.width) for v in (0.0, self.height)])
        farthest = float(np.hypot(*self._radial(corners)).max())
        if self.is_backward:
            return farthest
        given, angles = np.asarray(self.polynomial), np.arange(1, int(math.pi / _ANGLE_STEP_RAD)) * _ANGLE_STEP_RAD
        order = np.arange(1, len(given))
        slopes = (given[1:] * order * angles[:, None] ** (order - 1)).sum(1)
        good = (slopes > 0) & (_polynomial(given, angles) <= farthest)
        return float(angles[max(int(np.argmin(good)) - 1, 0)] if not good.all() else angles[-1])


def _polynomial(coefficients: np.ndarray, argument: np.ndarray) -> np.ndarray:
    value = argument * 0.0 + float(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * argument + float(coefficient)
    return value


def _namespace(array: np.ndarray):  # noqa: ANN202 - the numpy or the torch module
    if isinstance(array, np.ndarray):
        return np
    import torch

    return torch
