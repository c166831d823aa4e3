"""The ground: rolling hills under a curved main road with side roads, kerbs and sidewalks; heights in closed form."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

_MARCH_STEPS = 40
_NEAR_M = 0.004
_NEWTON_STEPS = 4


@dataclass(frozen=True)
class Terrain:
    """Ground height and road lay-out as sums of sines, so that every height, slope and lateral offset is exact.

    The road's center line is y = c(x); "lateral" is (y - c(x)) cos(heading), positive to the left.

    Attributes:
        height_m: height of the plane part at the origin.
        slope: (gx, gy) of the plane part.
        waves: (n, 4) amplitude m, kx rad/m, ky rad/m, phase of each ground wave.
        bends: (n, 3) amplitude m, k rad/m, phase of each sine of the center line.
        centre_m: constant part of the center line.
        crossings_m: x of the side roads.
        road_half_width_m: center line to kerb.
        crossing_half_width_m: half width of a side road.
        kerb_m: height of everything beside the roads above them; 0 for none.
        sidewalk_m: width of the paved strip behind the kerb.
    """

    height_m: float = 0.0
    slope: tuple[float, float] = (0.0, 0.0)
    waves: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))
    bends: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
    centre_m: float = 0.0
    crossings_m: tuple[float, ...] = ()
    road_half_width_m: float = 5.8
    crossing_half_width_m: float = 3.6
    kerb_m: float = 0.13
    sidewalk_m: float = 2.6

    def relative_to(self, anchor: np.ndarray) -> Terrain:
        """Return the same ground in coordinates whose origin is ``anchor`` (3,): keeps float32 exact far from home."""
        x, y, z = (float(v) for v in anchor)
        waves, bends = self.waves.copy(), self.bends.copy()
        waves[:, 3] += waves[:, 1] * x + waves[:, 2] * y
        bends[:, 2] += bends[:, 1] * x
        height = self.height_m - z + self.slope[0] * x + self.slope[1] * y
        crossings = tuple(c - x for c in self.crossings_m)
        return replace(
            self, height_m=height, waves=waves, bends=bends, centre_m=self.centre_m - y, crossings_m=crossings
        )

    @property
    def steepest(self) -> float:
        """An upper bound of the slope anywhere (meters per meter)."""
        return float(
            np.hypot(*self.slope) + (np.abs(self.waves[:, 0]) * np.hypot(self.waves[:, 1], self.waves[:, 2])).sum()
        )

    def base(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the height of the road level at ``x``, ``y``."""
        height = self.height_m + self.slope[0] * x + self.slope[1] * y
        for amplitude, kx, ky, phase in self.waves.tolist():
            height = height + amplitude * np.sin(kx * x + ky * y + phase)
        return height

    def gradient(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (dh/dx, dh/dy) at ``x``, ``y``."""
        gx, gy = self.slope[0] + 0.0 * x, self.slope[1] + 0.0 * y
        for amplitude, kx, ky, phase in self.waves.tolist():
            wave = amplitude * np.cos(kx * x + ky * y + phase)
            gx, gy = gx + kx * wave, gy + ky * wave
        return gx, gy

    def base_and_gradient(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return :meth:`base` and :meth:`gradient`, whose waves have the same phases, bit for bit."""
        height = self.height_m + self.slope[0] * x + self.slope[1] * y
        gx, gy = self.slope[0] + 0.0 * x, self.slope[1] + 0.0 * y
        for amplitude, kx, ky, phase in self.waves.tolist():
            angle = kx * x + ky * y + phase
            height, wave = height + amplitude * np.sin(angle), amplitude * np.cos(angle)
            gx, gy = gx + kx * wave, gy + ky * wave
        return height, gx, gy

    def center_line(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the center line's y and dy/dx at ``x``."""
        y, slope = self.centre_m + 0.0 * x, 0.0 * x
        for amplitude, k, phase in self.bends.tolist():
            y, slope = y + amplitude * np.sin(k * x + phase), slope + amplitude * k * np.cos(k * x + phase)
        return y, slope

    def lateral(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the signed distance from the center line, positive to the left."""
        center, slope = self.center_line(x)
        return (y - center) / np.sqrt(1.0 + slope * slope)

    def beyond_kerb(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the distance (meters) from the nearest kerb: negative on a road, positive beside it."""
        distance = np.abs(self.lateral(x, y)) - self.road_half_width_m
        for crossing in self.crossings_m:
            distance = np.minimum(distance, np.abs(x - crossing) - self.crossing_half_width_m)
        return distance

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the height of the surface at ``x``, ``y``, kerbs included."""
        return self.base(x, y) + self.kerb_m * (self.beyond_kerb(x, y) > 0)

    def frame(self, x: float, lateral_m: float, yaw_rad: float = 0.0) -> np.ndarray:
        """Return world_SE3_object (4, 4): on the ground, x along the road turned by ``yaw_rad``, z off it."""
        center, slope = self.center_line(np.float64(x))
        y = center + lateral_m * np.sqrt(1.0 + slope * slope)
        heading = np.arctan(slope) + yaw_rad
        gx, gy = self.gradient(np.float64(x), y)
        up = np.array([-gx, -gy, 1.0]) / np.sqrt(1.0 + gx * gx + gy * gy)
        left = np.cross(up, [np.cos(heading), np.sin(heading), 0.0])
        left /= np.linalg.norm(left)
        pose = np.eye(4)
        pose[:3, :3] = np.stack((np.cross(left, up), left, up), 1)
        pose[:3, 3] = x, y, self.height(np.float64(x), y)
        return pose

    def intersect(self, origin: np.ndarray, direction: np.ndarray, max_range_m: float) -> np.ndarray:
        """Return (N,) distances at which rays meet the ground, inf where they do not within ``max_range_m``.

        Rays that start below the ground miss it.

        Args:
            origin: (3, N) start points above the ground.
            direction: (3, N) unit vectors.
            max_range_m: where to give up.
        """
        upper = self._meet(origin, direction, max_range_m, self.kerb_m)
        if not self.kerb_m:
            return upper
        hit = np.flatnonzero(np.isfinite(upper))
        o, d, t = origin[:, hit], direction[:, hit], upper[hit]
        over_road = self.beyond_kerb(o[0] + t * d[0], o[1] + t * d[1]) <= 0
        road = hit[over_road]
        upper[road] = self._down_to_road(o[:, over_road], d[:, over_road], t[over_road], max_range_m)
        return upper

    def _meet(self, origin: np.ndarray, direction: np.ndarray, max_range_m: float, lift_m: float) -> np.ndarray:
        """March to the surface ``base + lift_m`` with steps that the steepest slope allows, then polish by Newton."""
        result = np.full(origin.shape[1], np.inf, origin.dtype)
        flat = np.hypot(direction[0], direction[1])
        rate = np.maximum(self.steepest * flat - direction[2], 1e-9)
        gap = origin[2] - self.base(origin[0], origin[1]) - lift_m
        alive = np.flatnonzero((gap > 0) & (gap < rate * max_range_m))
        o, d, rate, gap = origin[:, alive], direction[:, alive], rate[alive], gap[alive]
        t, ended = gap / rate, np.zeros(0, np.intp)
        near_t, near_gap = np.empty_like(result), np.empty_like(result)  # where the march of a ray ended
        for _ in range(_MARCH_STEPS):
            gap = self._gap(o, d, t, lift_m)
            near, going = np.abs(gap) < _NEAR_M, t < max_range_m
            done = near & going
            near_t[alive[done]], near_gap[alive[done]] = t[done], gap[done]
            ended = np.append(ended, alive[done])
            keep = going & ~near
            alive, o, d, rate = alive[keep], o[:, keep], d[:, keep], rate[keep]
            t = t[keep] + gap[keep] / rate
            if not len(alive):
                break
        o, d, t, gap = origin[:, ended], direction[:, ended], near_t[ended], near_gap[ended]
        polished = self._newton(o, d, t, lift_m)
        better = np.abs(self._gap(o, d, polished, lift_m)) < np.abs(gap)
        result[ended] = np.where(better, polished, t)  # a ray may graze a crest without ever crossing
        return result

    def _gap(self, o: np.ndarray, d: np.ndarray, t: np.ndarray, lift_m: float) -> np.ndarray:
        """Return how far above the surface the rays are at ``t``."""
        return o[2] + t * d[2] - self.base(o[0] + t * d[0], o[1] + t * d[1]) - lift_m

    def _newton(self, o: np.ndarray, d: np.ndarray, t: np.ndarray, lift_m: float) -> np.ndarray:
        """Polish ``t``; where the ray all but grazes the ground the Newton step is limited to 1 m."""
        for _ in range(_NEWTON_STEPS):
            x, y = o[0] + t * d[0], o[1] + t * d[1]
            height, gx, gy = self.base_and_gradient(x, y)
            slope = np.minimum(d[2] - gx * d[0] - gy * d[1], -1e-3)
            t = t - np.clip((o[2] + t * d[2] - height - lift_m) / slope, -1.0, 1.0)
        return t

    def _down_to_road(self, o: np.ndarray, d: np.ndarray, upper: np.ndarray, max_range_m: float) -> np.ndarray:
        """Go on from the kerb's height to the road, or to the kerb's face where that stands in the way."""
        gx, gy = self.gradient(o[0] + upper * d[0], o[1] + upper * d[1])
        fall = np.maximum(gx * d[0] + gy * d[1] - d[2], 1e-3)
        lower = self._newton(o, d, upper + self.kerb_m / fall, 0.0)
        astray = np.flatnonzero(~(np.abs(self._gap(o, d, lower, 0.0)) < 1e-3))  # along a crest
        lower[astray] = self._meet(o[:, astray], d[:, astray], max_range_m, 0.0)
        end = np.minimum(lower, max_range_m)
        past = np.flatnonzero(self.beyond_kerb(o[0] + end * d[0], o[1] + end * d[1]) > 0)
        near, far = upper[past], end[past]
        for _ in range(18):
            middle = 0.5 * (near + far)
            beyond = self.beyond_kerb(o[0, past] + middle * d[0, past], o[1, past] + middle * d[1, past]) > 0
            near, far = np.where(beyond, near, middle), np.where(beyond, middle, far)
        lower[past] = far
        lower[lower > max_range_m] = np.inf
        return lower
