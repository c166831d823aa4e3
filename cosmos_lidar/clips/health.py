"""What is wrong with a clip: times, poses, sweeps, pictures."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.rigid import rigid

FASTEST_M_PER_S = 70.0
_LARGEST_DROPPED_SHARE = 0.5
_LARGEST_SEAM_M = 0.5


@dataclass(frozen=True)
class SweepStatistics:
    """Of the sweeps that were read.

    Attributes:
        sweeps: how many were read.
        valid_share: pixels with a return / pixels.
        range_quantiles_m: 1, 50 and 99 percent of the ranges; None without returns.
        dropped_share: points outside the sensor's field of view or range / points; None for recorded range images.
        hidden_share: points behind a nearer one in the same pixel / points; None for recorded range images.
    """

    sweeps: int
    valid_share: float
    range_quantiles_m: tuple[float, float, float] | None
    dropped_share: float | None
    hidden_share: float | None


@dataclass(frozen=True)
class ClipHealth:
    """What `inspect` shows of a clip.

    Attributes:
        clip_id: the clip.
        format: name of the reader.
        source: file or folder.
        frames: number of sweeps.
        sensor: name of the sensor.
        shape: rows and columns of its range maps.
        duration_s: from the start of the first sweep to the end of the last.
        rate_hz: sweeps per second, by the median step; None for a single sweep.
        cameras: pictures per camera.
        labels: whether the sweeps that were read have semantic labels.
        poses: whether the clip has poses.
        statistics: of the sweeps that were read; None where none was.
        problems: what is wrong, one sentence each; empty for a good clip.
        notes: remarks of the reader.
    """

    clip_id: str
    format: str
    source: str
    frames: int
    sensor: str
    shape: tuple[int, int]
    duration_s: float
    rate_hz: float | None
    cameras: dict[str, int]
    labels: bool
    poses: bool
    statistics: SweepStatistics | None
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict:
        """Return plain lists, numbers and texts, for JSON."""
        return asdict(self)


def check_clip(clip: Clip, sweeps: int = 3) -> ClipHealth:
    """Return what `inspect` shows of a clip.

    Args:
        clip: the clip.
        sweeps: so many sweeps, evenly spread, and the first picture of each camera are read; 0 reads nothing.
    """
    counts = _count_problems(clip)
    problems = [*time_problems(clip.timestamps_us), *counts]
    if clip.world_SE3_lidar is not None and not counts:
        problems += pose_problems(clip.world_SE3_lidar, clip.timestamps_us)
    for camera in clip.cameras.values():
        problems += _camera_problems(camera, read=sweeps > 0)
    statistics, labels, broken = _read_some(clip, sweeps) if len(clip) else (None, False, [])
    steps = np.diff(clip.timestamps_us[:, 0])
    return ClipHealth(
        clip_id=clip.clip_id,
        format=clip.format,
        source=str(clip.source),
        frames=len(clip),
        sensor=clip.sensor.name,
        shape=clip.sensor.shape,
        duration_s=float(clip.timestamps_us[-1, 1] - clip.timestamps_us[0, 0]) / 1e6 if len(clip) else 0.0,
        rate_hz=1e6 / float(np.median(steps)) if len(steps) and np.median(steps) > 0 else None,
        cameras={name: len(camera) for name, camera in clip.cameras.items()},
        labels=labels,
        poses=clip.world_SE3_lidar is not None,
        statistics=statistics,
        problems=(*problems, *broken),
        notes=clip.notes,
    )


def _count_problems(clip: Clip) -> list[str]:
    problems = [] if len(clip) else ["no sweep in it"]
    shapes = {"timestamps": clip.timestamps_us.shape[:1]}
    if clip.world_SE3_lidar is not None:
        shapes["poses"] = clip.world_SE3_lidar.shape[:1]
    wrong = {name: shape[0] for name, shape in shapes.items() if shape[0] != len(clip)}
    return problems + [f"{count} {name} for {len(clip)} frames" for name, count in wrong.items()]


def time_problems(timestamps_us: np.ndarray) -> list[str]:
    """Return sentences on starts and ends (N, 2) in microseconds: sweeps without length, falling starts, gaps."""
    start, end = timestamps_us[:, 0].astype(np.int64), timestamps_us[:, 1].astype(np.int64)
    problems = []
    empty = np.flatnonzero(end <= start)
    if len(empty):
        problems.append(f"{len(empty)} sweeps end before they start, the first is sweep {empty[0]}")
    steps = np.diff(start)
    falling = np.flatnonzero(steps <= 0)
    if len(falling):
        problems.append(
            f"timestamps do not increase {len(falling)} times, first from sweep {falling[0]} to {falling[0] + 1}"
        )
    usual = float(np.median(steps)) if len(steps) else 0.0
    gaps = np.flatnonzero(steps > 1.5 * usual) if usual > 0 else np.empty(0, int)
    if len(gaps):
        longest = gaps[np.argmax(steps[gaps])]
        text = f"{len(gaps)} gaps in time, the longest {steps[longest] / 1e6:.3f} s after sweep {longest}"
        problems.append(f"{text} (usual step {usual / 1e6:.3f} s)")
    return problems


def pose_problems(world_SE3_lidar: np.ndarray, timestamps_us: np.ndarray) -> list[str]:
    """Return sentences on poses (N, 2, 4, 4) at times (N, 2): NaN, no rigid matrix, jumps, ends that do not meet."""
    poses = np.asarray(world_SE3_lidar, np.float64)
    finite = np.isfinite(poses).all((-1, -2, -3))
    good = rigid(poses).all(-1)
    problems = []
    if not finite.all():
        problems.append(f"{int((~finite).sum())} poses are NaN or infinite, the first is of sweep {np.argmin(finite)}")
    bent = finite & ~good
    if bent.any():
        problems.append(f"{int(bent.sum())} poses are no rigid motion, the first is of sweep {np.argmax(bent)}")
    return problems + _jumps(poses, timestamps_us, good)


def _jumps(poses: np.ndarray, timestamps_us: np.ndarray, good: np.ndarray) -> list[str]:
    places, times = poses[:, :, :3, 3], timestamps_us / 1e6
    problems = []
    inside = _speed(places[:, 0], places[:, 1], times[:, 1] - times[:, 0])
    inside[~good] = 0.0
    if (inside > FASTEST_M_PER_S).any():
        problems.append(f"the pose jumps within sweep {np.argmax(inside)}: {inside.max():.0f} m/s")
    both = good[1:] & good[:-1]
    between = np.where(both, _speed(places[:-1, 0], places[1:, 0], np.diff(times[:, 0])), 0.0)
    if (between > FASTEST_M_PER_S).any():
        first = int(np.argmax(between > FASTEST_M_PER_S))
        count = int((between > FASTEST_M_PER_S).sum())
        problems.append(f"{count} jumps of the pose, first from sweep {first} to {first + 1}: {between[first]:.0f} m/s")
    meets = both & (np.abs(times[1:, 0] - times[:-1, 1]) < 1e-3)
    seam = np.where(meets, np.linalg.norm(places[1:, 0] - places[:-1, 1], axis=-1), 0.0)
    if (seam > _LARGEST_SEAM_M).any():
        at = int(np.argmax(seam))
        problems.append(f"the pose at the end of sweep {at} is {seam[at]:.2f} m from that at the start of the next")
    return problems


def _speed(before: np.ndarray, after: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Return (N,) metres per second; 0 where no time passes: that is a problem of the times."""
    distance = np.nan_to_num(np.linalg.norm(after - before, axis=-1), posinf=0.0)
    return np.where(seconds > 0, distance / np.where(seconds > 0, seconds, 1.0), 0.0)


def _camera_problems(camera: CameraStream, read: bool) -> list[str]:
    problems = []
    falling = np.flatnonzero(np.diff(camera.timestamps_us) <= 0)
    if len(falling):
        problems.append(f"{camera.name}: timestamps do not increase after picture {falling[0]}")
    if camera.world_SE3_camera is not None and not rigid(camera.world_SE3_camera).all():
        problems.append(
            f"{camera.name}: the pose of picture {np.argmin(rigid(camera.world_SE3_camera))} is no rigid motion"
        )
    if not len(camera):
        return [*problems, f"{camera.name}: no picture"]
    if not read:
        return problems
    try:
        height, width = camera.read(0).shape[:2]
    except DataError as error:
        return [*problems, f"{camera.name}: {error}"]
    lens = camera.model
    if lens is not None and (width, height) != (lens.width, lens.height):
        problems.append(
            f"{camera.name}: pictures are {width} x {height}, the calibration is for {lens.width} x {lens.height}"
        )
    return problems


def _read_some(clip: Clip, sweeps: int) -> tuple[SweepStatistics | None, bool, list[str]]:
    """Return statistics of evenly spread sweeps, whether they have labels, and what could not be read."""
    chosen = np.unique(np.linspace(0, len(clip) - 1, min(sweeps, len(clip))).round().astype(int))
    counted, labels, problems = [], False, []
    for index in chosen:
        try:
            sweep = clip.read_sweep(int(index))
            labels |= sweep.labels is not None
            counted.append(_count(clip, sweep, int(index)))
        except DataError as error:
            problems.append(str(error))
    if not counted:
        return None, labels, problems
    ranges = np.concatenate([ranges for ranges, _, _ in counted])
    points, dropped = (sum(int(one[k]) for one in counted) for k in (1, 2))
    statistics = SweepStatistics(
        sweeps=len(counted),
        valid_share=len(ranges) / (len(counted) * clip.sensor.rows * clip.sensor.columns),
        range_quantiles_m=tuple(float(v) for v in np.quantile(ranges, (0.01, 0.5, 0.99))) if len(ranges) else None,
        dropped_share=dropped / points if points else None,
        hidden_share=(points - dropped - len(ranges)) / points if points else None,
    )
    return statistics, labels, problems + _sweep_problems(statistics, clip)


def _count(clip: Clip, sweep: object, index: int) -> tuple[np.ndarray, int, int]:
    """Return the ranges in the map, the number of points and how many of them lie outside the map; 0, 0 for images."""
    if sweep.range_m is not None:
        return sweep.range_m[sweep.range_m > 0], 0, 0
    projection = clip.project(sweep, index)
    return projection.range_m[projection.range_m > 0], len(sweep.points), projection.n_dropped


def _sweep_problems(statistics: SweepStatistics, clip: Clip) -> list[str]:
    if statistics.range_quantiles_m is None:
        return ["no return in any of the sweeps read"]
    if (statistics.dropped_share or 0.0) > _LARGEST_DROPPED_SHARE:
        share = f"{statistics.dropped_share:.0%} of the points lie outside the field of view of {clip.sensor.name}"
        return [f"{share}: is it another sensor? (--sensor)"]
    return []
