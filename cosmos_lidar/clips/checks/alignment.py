"""Cameras against the lidar: turns of the camera at which depth discontinuities fit the edges of the image better.

One image of each camera is looked at; where it fits better for a turned camera, more are, and all of them together
decide. A turn is reported where its score stands out among all turns, leads those elsewhere, and the gain is spread
over many directions. Yaw comes from upright edges and is the most certain; pitch and roll from sparser rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cosmos_lidar.clips.camera_pose import points_in_camera
from cosmos_lidar.clips.checks._recording import Recording
from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.finding import Finding, Severity
from cosmos_lidar.clips.sweep import Sweep, points_of
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.edge_alignment import (
    AXES,
    REACH_DEG,
    STEP_DEG,
    DepthEdges,
    EdgeView,
    TurnScore,
    depth_edges,
    edge_view,
    score_turns,
)

TITLE = "cameras turned against the lidar: image edges against depth discontinuities"
READS = True
_LEAST_TURN_DEG = {"yaw": 0.5, "pitch": 1.0, "roll": 1.25}
_KINDS = {"yaw": (True,), "pitch": (False,), "roll": (True, False)}
_SEVERITY: dict[str, Severity] = {"yaw": "error", "pitch": "warning", "roll": "warning"}
# contrast, lead, gain (standard deviations among turns) and confidence (t) that a turn needs; less for the first look.
_NEEDED = {"yaw": (2.1, 1.3, 1.5, 2.0), "pitch": (2.4, 1.3, 2.0, 2.2), "roll": (2.6, 1.2, 2.0, 2.0)}
_FIRST_LOOK = 0.75
_MOST_IMAGES = 3
_APART_US = 60_000  # of an image from the middle of its sweep, where the way between is not known
_APART_WITH_POSES_US = 100_000


def check_camera(recording: Recording, camera: CameraStream) -> Iterator[Finding]:
    """Yield a finding for each axis around which the camera is turned against the clip's main lidar."""
    clip = recording.clip
    if camera.model is None or not clip.lidars or not len(camera) or not _has_place(clip, camera):
        return
    pairs = _pairs(recording, camera)
    views = [view for pair in pairs[:1] if (view := _view(recording, camera, *pair)) is not None]
    scores = _scores(views)
    if not any(_turned(axis, score, _FIRST_LOOK) for axis, score in scores.items()):
        return
    views += [view for pair in pairs[1:] if (view := _view(recording, camera, *pair)) is not None]
    scores = _scores(views)
    best = {f"best_{axis}_deg": None if score is None else score.best_deg for axis, score in scores.items()}
    for axis, score in scores.items():
        if score is not None and _turned(axis, score, 1.0):
            yield _finding(axis, score, best, len(views), pairs[0])


def _has_place(clip: Clip, camera: CameraStream) -> bool:
    both = clip.world_SE3_lidar is not None and camera.world_SE3_camera is not None
    return both or camera.lidar_SE3_camera is not None


def _pairs(recording: Recording, camera: CameraStream) -> list[tuple[int, int]]:
    """Return (sweep, image) of one time, from the middle of the clip outwards."""
    clip = recording.clip
    both = clip.world_SE3_lidar is not None and camera.world_SE3_camera is not None
    apart = _APART_WITH_POSES_US if both else _APART_US
    pairs = []
    for index in sorted(recording.chosen(clip.lidar), key=lambda index: abs(2 * index - len(clip) + 1)):
        middle = float(clip.timestamps_us[index].mean())
        image = int(np.argmin(np.abs(camera.timestamps_us - middle)))
        named = clip.lidar.image_numbers
        if named is not None and 0 <= named[index] < len(camera):
            image = int(named[index])
        elif abs(camera.timestamps_us[image] - middle) > apart:
            continue
        pairs.append((index, image))
    return pairs[:_MOST_IMAGES]


def _view(recording: Recording, camera: CameraStream, index: int, image: int) -> EdgeView | None:
    clip = recording.clip
    sweep, pixels = recording.sweep(clip.lidar, index), recording.image(camera, image)
    lens = camera.model
    if sweep is None or pixels is None or lens is None or pixels.shape[:2] != (lens.height, lens.width):
        return None  # `sweeps` and `images` report these
    if index not in recording.counted(clip.lidar):
        return None
    try:
        points, time_us, edges = _edge_points(clip.lidar, sweep, index)
        return edge_view(pixels, lens, points_in_camera(clip, camera, index, image, points, time_us), edges)
    except DataError:
        return None


def _edge_points(stream: LidarStream, sweep: Sweep, index: int) -> tuple[np.ndarray, np.ndarray | None, DepthEdges]:
    """Return the points (N, 3) of the discontinuities of a sweep, their times where it has them, and their kinds."""
    if sweep.range_m is not None:
        edges = depth_edges(sweep.range_m, stream.sensor.row_elevations_rad)
        rows = (np.cumsum(np.asarray(sweep.range_m).ravel() > 0) - 1)[edges.pixels]
        time_us = None if sweep.time_us is None else sweep.time_us.ravel()[edges.pixels]
        return points_of(sweep, stream.sensor)[rows], time_us, edges
    projection = stream.project(sweep, index)
    edges = depth_edges(np.asarray(projection.range_m), stream.sensor.row_elevations_rad)
    rows = np.asarray(projection.point_index).ravel()[edges.pixels]
    time_us = None if sweep.time_us is None else sweep.time_us[rows]
    return points_of(sweep, stream.sensor)[rows], time_us, edges


def _scores(views: list[EdgeView]) -> dict[str, TurnScore | None]:
    return {axis: score_turns(views, axis, _KINDS[axis]) if views else None for axis in AXES}


def _turned(axis: str, score: TurnScore | None, strictness: float) -> bool:
    """Return whether a score shows a turn; ``strictness`` scales what it needs."""
    if score is None or not _LEAST_TURN_DEG[axis] <= abs(score.best_deg) <= REACH_DEG - STEP_DEG:
        return False
    found = (score.contrast, score.lead, score.gain, score.confidence)
    return all(one >= strictness * needed for one, needed in zip(found, _NEEDED[axis], strict=True))


def _finding(axis: str, score: TurnScore, best: dict, images: int, pair: tuple[int, int]) -> Finding:
    way = {"yaw": ("right", "left"), "pitch": ("up", "down"), "roll": ("clockwise", "counter-clockwise")}[axis]
    middle, turned = len(score.turns_deg) // 2, int(np.argmax(score.scores))
    text = f"edges fit the lidar best with the camera turned {abs(score.best_deg):g} degrees {way[score.best_deg < 0]} "
    text += f"({axis}), by {images} images: score {score.scores[turned]:.2f} against {score.scores[middle]:.2f} as "
    text += "calibrated"
    evidence = {
        **best, "score_calibrated": score.scores[middle], "score_best": score.scores[turned],
        "score_mean": score.scores.mean(), "contrast": score.contrast, "lead": score.lead, "gain": score.gain,
        "confidence": score.confidence, "edges": score.points, "images": images, "sweep": pair[0],
    }  # fmt: skip
    return Finding(f"alignment.{axis}", _SEVERITY[axis], text, pair[1], evidence=evidence)
