"""Alignment of a camera with a lidar: depth discontinuities of the sweep against edges of the image.

After Levinson and Thrun, "Automatic Online Calibration of Cameras and Lasers" (RSS 2013): where the range jumps from
one column to the next, the near side is the silhouette of an object, and the image has an upright edge there; where it
jumps between rows, a level one. The score of a calibration is the mean strength of the image's edges at the projected
discontinuities; it is compared with those of turned cameras. Only turns are tried: they move all points, a shift of
some centimeters only near ones.

Signs: a turn of +1 degree of yaw (pitch, roll) means that the lens looks 1 degree further to the right (up, clockwise)
than the calibration has it, seen from behind the camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cosmos_lidar.sensors.ftheta import FThetaCamera
from cosmos_lidar.sensors.pinhole import PinholeCamera

AXES = ("yaw", "pitch", "roll")
REACH_DEG, STEP_DEG = 3.0, 0.125
_TARGET_WIDTH = 960  # images are averaged down to about that
_NEAREST_M, _FARTHEST_M = 1.5, 60.0
_COLUMN_JUMP_M, _COLUMN_JUMP_SHARE = 0.5, 0.05  # the road's range grows from row to row, not from column to column
_ROW_JUMP_M, _ROW_JUMP_SHARE = 1.0, 0.25
_MOST_JUMP_M = 5.0
_BLUR_DEG = 0.12
_STRONGEST = 4.0  # times the usual gradient around it
_LEAST_POINTS = 60
_BLOCK_DEG = 2.0  # points of one direction are of one object


@dataclass(frozen=True, eq=False)
class DepthEdges:
    """Discontinuities of a range map: pixels on the near side.

    Attributes:
        pixels: (N,) flat numbers of the pixels.
        weights: (N,) square root of the jump in meters.
        upright: (N,) bool: the range jumps between columns; False: between rows.
        above_rad: (N,) half the angle to the row above, for jumps between rows: the edge lies between both.
    """

    pixels: np.ndarray
    weights: np.ndarray
    upright: np.ndarray
    above_rad: np.ndarray


def depth_edges(range_m: np.ndarray, row_elevations_rad: np.ndarray) -> DepthEdges:
    """Return the discontinuities of a range map (rows, columns), 0 = no return, of a full circle or part of it.

    Args:
        range_m: meters; row 0 is the highest.
        row_elevations_rad: (rows,) of the beams.
    """
    distance = np.where(np.asarray(range_m) > 0, np.asarray(range_m, np.float64), np.nan)
    usable = (distance > _NEAREST_M) & (distance < _FARTHEST_M)
    beside = np.full(distance.shape, -np.inf)
    for side in (1, -1):
        near, next_one = np.roll(distance, side, 1), np.roll(distance, 2 * side, 1)
        beside = np.fmax(beside, np.where(np.isfinite(near), near, next_one) - distance)
    above = np.full(distance.shape, np.nan)
    above[1:] = distance[:-1]
    with np.errstate(invalid="ignore"):
        jump = above - distance
        upright = usable & (beside > np.maximum(_COLUMN_JUMP_M, _COLUMN_JUMP_SHARE * distance))
        level = usable & (jump > np.maximum(_ROW_JUMP_M, _ROW_JUMP_SHARE * distance))
    half = np.zeros(len(row_elevations_rad))
    half[1:] = -np.diff(row_elevations_rad) / 2.0
    pixels = [np.flatnonzero(one) for one in (upright, level)]
    jumps = np.concatenate([beside.ravel()[pixels[0]], jump.ravel()[pixels[1]]])
    counts = [len(one) for one in pixels]
    rows = pixels[1] // distance.shape[1]
    return DepthEdges(
        np.concatenate(pixels),
        np.sqrt(np.minimum(jumps, _MOST_JUMP_M)),
        np.repeat([True, False], counts),
        np.concatenate([np.zeros(counts[0]), half[rows]]),
    )


@dataclass(frozen=True, eq=False)
class EdgeView:
    """Edges of an image and the discontinuities that belong into it.

    Attributes:
        maps: two (H, W) float32: strength of upright and of level edges, 1 is that of the surroundings.
        shrink: pixels of the image per pixel of the maps.
        model: lens of the image.
        points: (N, 3) discontinuities in camera axes.
        weights: (N,).
        upright: (N,) bool.
    """

    maps: tuple[np.ndarray, np.ndarray]
    shrink: int
    model: PinholeCamera | FThetaCamera
    points: np.ndarray
    weights: np.ndarray
    upright: np.ndarray

    def strengths(self, turn_deg: Sequence[float]) -> np.ndarray:
        """Return (N,) strength of the image's edge at each point for a camera turned by yaw, pitch, roll; NaN outside.

        Args:
            turn_deg: yaw, pitch and roll in degrees, as in the head of this module.
        """
        from scipy.spatial.transform import Rotation

        yaw, pitch, roll = (float(angle) for angle in turn_deg)
        camera_R_turned = Rotation.from_euler("yxz", (yaw, pitch, roll), degrees=True)
        turned = camera_R_turned.inv().apply(self.points)
        uv, _ = self.model.project(turned)
        pixels = np.floor((np.nan_to_num(uv, nan=-1e6) + 0.5) / self.shrink).astype(np.int64)
        height, width = self.maps[0].shape
        inside = (pixels >= 0).all(1) & (pixels[:, 0] < width) & (pixels[:, 1] < height) & (turned[:, 2] > 0)
        result = np.full(len(pixels), np.nan)
        for kind, edges in zip((True, False), self.maps, strict=True):
            chosen = inside & (self.upright == kind)
            result[chosen] = edges[pixels[chosen, 1], pixels[chosen, 0]]
        return result


def edge_view(
    image: np.ndarray, model: PinholeCamera | FThetaCamera, points_camera: np.ndarray, edges: DepthEdges
) -> EdgeView:
    """Return the edges of an image (H, W, 3) and the discontinuities near it.

    Args:
        image: uint8.
        model: its lens.
        points_camera: (N, 3) meters, the discontinuities in camera axes.
        edges: their weights and kinds.
    """
    from scipy.spatial.transform import Rotation

    points = np.asarray(points_camera, np.float64).copy()
    down = np.zeros_like(points)  # level edges lie half a row higher: a turn around the camera's x axis, which is level
    down[:, 0] = edges.above_rad
    points = Rotation.from_rotvec(down).apply(points) if len(points) else points
    uv, _ = model.project(points)
    margin = np.sin(np.radians(REACH_DEG)) * model.width
    with np.errstate(invalid="ignore"):
        near = (points[:, 2] > 0.5) & (uv > -margin).all(1)
        near &= (uv[:, 0] < model.width + margin) & (uv[:, 1] < model.height + margin)
    shrink = max(1, round(model.width / _TARGET_WIDTH))
    maps = edge_maps(image, shrink, _BLUR_DEG * pixels_per_degree(model) / shrink)
    return EdgeView(maps, shrink, model, points[near], edges.weights[near], edges.upright[near])


def pixels_per_degree(model: PinholeCamera | FThetaCamera) -> float:
    """Return how many pixels a turn of one degree moves the middle of the image."""
    angle = np.radians(0.5)
    rays = np.array([[np.sin(-angle), 0.0, np.cos(angle)], [np.sin(angle), 0.0, np.cos(angle)]])
    uv, _ = model.project(rays)
    return float(np.linalg.norm(uv[1] - uv[0]))


def edge_maps(image: np.ndarray, shrink: int, blur_px: float) -> tuple[np.ndarray, np.ndarray]:
    """Return strengths of upright and level edges, each (H // shrink, W // shrink) float32.

    Gradients (Sobel) are divided by their mean around each pixel, so that dark and bright parts count alike.

    Args:
        image: (H, W, 3) uint8.
        shrink: so many pixels are averaged to one.
        blur_px: standard deviation of the blur that lets edges reach as far as the calibration is searched.
    """
    from scipy import ndimage

    gray = np.asarray(image, np.float32).mean(-1)
    rows, columns = (side // shrink for side in gray.shape)
    gray = gray[: rows * shrink, : columns * shrink].reshape(rows, shrink, columns, shrink).mean((1, 3))
    gray = ndimage.gaussian_filter(gray, 1.0)
    maps = []
    for axis in (1, 0):
        strength = np.abs(ndimage.sobel(gray, axis))
        strength = np.minimum(strength / (ndimage.uniform_filter(strength, 41) + 2.0), _STRONGEST)
        maps.append(ndimage.gaussian_filter(strength, blur_px).astype(np.float32))
    return maps[0], maps[1]


@dataclass(frozen=True, eq=False)
class TurnScore:
    """Scores of turns around one axis.

    Attributes:
        turns_deg: (K,) turns.
        scores: (K,) mean strength of edges.
        best_deg: turn of the best score.
        contrast: of the best score: standard deviations above the mean of all turns.
        lead: of the best score above the best one of turns at least 0.75 degrees from it, in standard deviations.
        gain: of the best score above that of no turn, in standard deviations.
        confidence: gain over its own deviation between directions (t statistic); 0 where no turn is the best.
        points: number of discontinuities.
    """

    turns_deg: np.ndarray
    scores: np.ndarray
    best_deg: float
    contrast: float
    lead: float
    gain: float
    confidence: float
    points: int


def score_turns(views: Sequence[EdgeView], axis: str, kinds: Sequence[bool] = (True, False)) -> TurnScore | None:
    """Return the scores of turns around one axis, over all views; None where there is too little in them.

    Args:
        views: of one camera.
        axis: ``yaw``, ``pitch`` or ``roll``.
        kinds: which discontinuities count: upright ones (True) for yaw, level ones for pitch.
    """
    turns = np.arange(-REACH_DEG, REACH_DEG + STEP_DEG / 2, STEP_DEG)
    number = AXES.index(axis)
    strengths, weights, blocks = [], [], []
    for place, view in enumerate(views):
        chosen = np.isin(view.upright, list(kinds))
        found = [view.strengths([turn if k == number else 0.0 for k in range(3)])[chosen] for turn in turns]
        strengths.append(np.stack(found) if found else np.zeros((len(turns), 0)))
        weights.append(view.weights[chosen])
        points = view.points[chosen]
        blocks.append(np.floor(np.degrees(np.arctan2(points[:, 0], points[:, 2])) / _BLOCK_DEG) + 1000 * place)
    return _score(turns, np.concatenate(strengths, 1), np.concatenate(weights), np.concatenate(blocks))


def _score(turns: np.ndarray, strengths: np.ndarray, weights: np.ndarray, blocks: np.ndarray) -> TurnScore | None:
    inside = np.isfinite(strengths)
    if int(inside.sum(1).min()) < _LEAST_POINTS:
        return None
    scores = np.nansum(strengths * weights, 1) / (inside * weights).sum(1)
    deviation = float(scores.std())
    if not deviation > 0:
        return None
    best, middle = int(np.argmax(scores)), len(turns) // 2
    away = np.abs(turns - turns[best]) >= 0.75
    both = inside[best] & inside[middle]
    gains = (strengths[best, both] - strengths[middle, both]) * weights[both]
    _, block = np.unique(blocks[both], return_inverse=True)
    sums = np.bincount(block, gains)
    spread = float(np.sqrt((sums**2).sum()))
    return TurnScore(
        turns, scores, float(turns[best]),
        float((scores[best] - scores.mean()) / deviation),
        float((scores[best] - scores[away].max()) / deviation),
        float((scores[best] - scores[middle]) / deviation),
        float(sums.sum() / spread) if spread > 0 else 0.0,
        len(weights),
    )  # fmt: skip
