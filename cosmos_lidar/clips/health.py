"""What is wrong with a clip: times, poses, sweeps, images."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.files import HeaderlessFiles
from cosmos_lidar.clips.sweep import Sweep, points_of, sweep_problems
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.rigid import rigid

FASTEST_M_PER_S = 70.0
_LARGEST_DROPPED_SHARE = 0.5
_LARGEST_SEAM_M = 0.5
_LEAST_TURN = 0.7  # columns with a return, of those that most sweeps have
_NAMED = 5


@dataclass(frozen=True)
class SweepStatistics:
    """Of the sweeps that were read.

    Attributes:
        sweeps: how many were read.
        returns_per_sweep: returns, or points, on average.
        valid_share: pixels with a return / pixels.
        range_quantiles_m: 1, 50 and 99 percent of the ranges; None without returns.
        dropped_share: points outside the sensor's field of view or range / points; None for recorded range images.
        hidden_share: points behind a nearer one in the same pixel / points; None for recorded range images.
    """

    sweeps: int
    returns_per_sweep: float
    valid_share: float
    range_quantiles_m: tuple[float, float, float] | None
    dropped_share: float | None
    hidden_share: float | None


@dataclass(frozen=True)
class LidarHealth:
    """What `inspect` shows of one lidar of a clip.

    Attributes:
        name: the lidar.
        frames: number of sweeps.
        sensor: name of the sensor.
        shape: rows and columns of its range maps.
        duration_s: from the start of the first sweep to the end of the last.
        rate_hz: sweeps per second, by the median step; None for a single sweep.
        poses: whether it has poses.
        mounting: whether its place on the vehicle is known.
        motion_compensated: whether its points have been moved to the start of each sweep.
        held: what the sweeps that were read hold, such as ``points``, ``intensity``, ``time_us``.
        statistics: of the sweeps that were read; None where none was.
        problems: what is wrong, one sentence each.
        notes: remarks that are no problem, such as points without return.
    """

    name: str
    frames: int
    sensor: str
    shape: tuple[int, int]
    duration_s: float
    rate_hz: float | None
    poses: bool
    mounting: bool
    motion_compensated: bool
    held: tuple[str, ...]
    statistics: SweepStatistics | None
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClipHealth:
    """What `inspect` shows of a clip; of ``frames`` to ``rate_hz`` and ``labels`` to ``statistics``, its main lidar.

    Attributes:
        clip_id: the clip.
        format: name of the reader.
        source: file or folder.
        frames: number of sweeps.
        sensor: name of the sensor; None without a lidar.
        shape: rows and columns of its range maps; None without a lidar.
        duration_s: from the start of the first sweep to the end of the last.
        rate_hz: sweeps per second, by the median step; None for a single sweep.
        cameras: images per camera.
        labels: whether the sweeps that were read have semantic labels.
        poses: whether the clip has poses.
        statistics: of the sweeps that were read; None where none was.
        problems: what is wrong, one sentence each; empty for a good clip.
        notes: remarks of the reader.
        lidars: one by one, the main one first.
    """

    clip_id: str
    format: str
    source: str
    frames: int
    sensor: str | None
    shape: tuple[int, int] | None
    duration_s: float
    rate_hz: float | None
    cameras: dict[str, int]
    labels: bool
    poses: bool
    statistics: SweepStatistics | None
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    lidars: tuple[LidarHealth, ...] = ()

    def to_dict(self) -> dict:
        """Return plain lists, numbers and texts, for JSON."""
        return asdict(self)


def check_clip(clip: Clip, sweeps: int = 3) -> ClipHealth:
    """Return what `inspect` shows of a clip.

    Args:
        clip: the clip.
        sweeps: so many sweeps of each lidar, evenly spread, and the first image of each camera are read; 0 reads
            nothing.
    """
    lidars = tuple(check_lidar(stream, sweeps) for stream in clip.lidars.values())
    main = lidars[0] if lidars else None
    problems = [] if lidars or clip.cameras else ["neither lidar nor camera in it"]
    for one in lidars:
        problems += one.problems if len(lidars) == 1 else [f"{one.name}: {problem}" for problem in one.problems]
    for camera in clip.cameras.values():
        problems += _camera_problems(camera, read=sweeps > 0)
    return ClipHealth(
        clip_id=clip.clip_id,
        format=clip.format,
        source=str(clip.source),
        frames=len(clip),
        sensor=None if main is None else main.sensor,
        shape=None if main is None else main.shape,
        duration_s=0.0 if main is None else main.duration_s,
        rate_hz=None if main is None else main.rate_hz,
        cameras={name: len(camera) for name, camera in clip.cameras.items()},
        labels=main is not None and "labels" in main.held,
        poses=main is not None and main.poses,
        statistics=None if main is None else main.statistics,
        problems=tuple(problems),
        notes=(*clip.notes, *(f"{one.name}: {note}" for one in lidars for note in one.notes)),
        lidars=lidars,
    )


def check_lidar(stream: LidarStream, sweeps: int = 3) -> LidarHealth:
    """Return what `inspect` shows of a lidar; ``sweeps`` as for :func:`check_clip`."""
    counts = _count_problems(stream)
    problems = [*time_problems(stream.timestamps_us), *counts]
    if stream.world_SE3_lidar is not None and not counts:
        problems += pose_problems(stream.world_SE3_lidar, stream.timestamps_us)
    found = _read_some(stream, sweeps) if len(stream) else _Read()
    unread = _unread_problems(stream, found) if sweeps else []
    times = stream.timestamps_us
    return LidarHealth(
        name=stream.name,
        frames=len(stream),
        sensor=stream.sensor.name,
        shape=stream.sensor.shape,
        duration_s=float(times[-1, 1] - times[0, 0]) / 1e6 if len(stream) else 0.0,
        rate_hz=stream.rate_hz,
        poses=stream.world_SE3_lidar is not None,
        mounting=stream.ego_SE3_lidar is not None,
        motion_compensated=stream.motion_compensated,
        held=tuple(found.held),
        statistics=found.statistics,
        problems=(*problems, *unread, *found.problems),
        notes=tuple(found.notes),
    )


def _count_problems(stream: LidarStream) -> list[str]:
    problems = [] if len(stream) else ["no sweep in it"]
    shapes = {"timestamps": stream.timestamps_us.shape[:1]}
    if stream.world_SE3_lidar is not None:
        shapes["poses"] = stream.world_SE3_lidar.shape[:1]
    wrong = {name: shape[0] for name, shape in shapes.items() if shape[0] != len(stream)}
    return problems + [f"{count} {name} for {len(stream)} frames" for name, count in wrong.items()]


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
    good = np.asarray(rigid(poses).all(-1))
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
    """Return (N,) meters per second; 0 where no time passes: that is a problem of the times."""
    distance = np.nan_to_num(np.linalg.norm(after - before, axis=-1), posinf=0.0)
    return np.where(seconds > 0, distance / np.where(seconds > 0, seconds, 1.0), 0.0)


def _camera_problems(camera: CameraStream, read: bool) -> list[str]:
    problems = []
    falling = np.flatnonzero(np.diff(camera.timestamps_us) <= 0)
    if len(falling):
        problems.append(f"{camera.name}: timestamps do not increase after image {falling[0]}")
    if camera.world_SE3_camera is not None and not rigid(camera.world_SE3_camera).all():
        problems.append(
            f"{camera.name}: the pose of image {np.argmin(rigid(camera.world_SE3_camera))} is no rigid motion"
        )
    if not len(camera):
        return [*problems, f"{camera.name}: no image"]
    if not read:
        return problems
    try:
        height, width = camera.read(0).shape[:2]
    except DataError as error:
        return [*problems, f"{camera.name}: {error}"]
    lens = camera.model
    if lens is not None and (width, height) != (lens.width, lens.height):
        problems.append(
            f"{camera.name}: images are {width} x {height}, the calibration is for {lens.width} x {lens.height}"
        )
    return problems


@dataclass
class _Read:
    """What some sweeps of a lidar showed: their numbers, statistics, names of what they hold, problems, and remarks."""

    sweeps: list[int] = field(default_factory=list)
    statistics: SweepStatistics | None = None
    held: dict[str, None] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def _read_some(stream: LidarStream, sweeps: int) -> _Read:
    """Read evenly spread sweeps."""
    chosen = np.unique(np.linspace(0, len(stream) - 1, min(sweeps, len(stream))).round().astype(int))
    counted: dict[int, _Counted] = {}
    found, without = _Read(chosen.tolist()), 0
    for index in found.sweeps:
        try:
            sweep = stream.read(index)
            wrong = sweep_problems(sweep, stream.sensor)
            found.held |= dict.fromkeys(sweep.held)
            found.problems += [f"sweep {index}: {problem}" for problem in wrong]
            without += sweep.without_return
            if not wrong:
                counted[index] = _count(stream, sweep, index)
        except DataError as error:
            found.problems.append(str(error))
    if without:
        found.notes.append(f"{without} points of {len(chosen)} sweeps are NaN, infinite or the origin: no return")
    if counted:
        found.statistics = _statistics(list(counted.values()), stream)
        found.problems += _statistics_problems(found.statistics, stream) or _empty_or_partial(counted)
    return found


def _unread_problems(stream: LidarStream, read: _Read) -> list[str]:
    """Return sentences on the sweeps that were not read and cannot be, by the sizes of their files."""
    known = stream.read.problems() if isinstance(stream.read, HeaderlessFiles) else {}
    texts = [f"sweep {index}: {problem}" for index, problem in known.items() if index not in read.sweeps]
    rest = len(texts) - _NAMED
    return texts if rest <= 0 else [*texts[:_NAMED], f"and {rest} more sweeps that cannot be read"]


def _empty_or_partial(counted: dict[int, _Counted]) -> list[str]:
    """Return sentences on sweeps without a return, and on those that cover less of the turn than most of the others."""
    usual = float(np.median([one.columns for one in counted.values()]))
    problems = []
    for index, one in counted.items():
        if not len(one.ranges):
            points = f", none of its {one.points} points is in the range map" if one.points else ""
            problems.append(f"sweep {index}: no return{points}")
        elif one.columns < _LEAST_TURN * usual:
            problems.append(f"sweep {index}: {one.columns} columns have a return, of most sweeps {usual:.0f}: cut off?")
    return problems


@dataclass(frozen=True)
class _Counted:
    """The ranges in the map of a sweep, its returns, columns with returns, points for the map, those outside of it."""

    ranges: np.ndarray
    returns: int
    columns: int
    points: int = 0
    dropped: int = 0


def _count(stream: LidarStream, sweep: Sweep, index: int) -> _Counted:
    if sweep.range_m is not None:
        ranges = sweep.range_m[sweep.range_m > 0]
        second = np.zeros(0) if sweep.second_return is None else np.asarray(sweep.second_return.range_m)
        return _Counted(ranges, len(ranges) + int(np.count_nonzero(second)), _columns(sweep.range_m))
    projection, count = stream.project(sweep, index), len(points_of(sweep, stream.sensor))
    range_m = np.asarray(projection.range_m)
    first = count if sweep.returns is None else int(np.count_nonzero(sweep.returns == 1))
    return _Counted(range_m[range_m > 0], count, _columns(range_m), first, projection.n_dropped)


def _columns(range_m: np.ndarray) -> int:
    """Return how many columns of a range map (rows, columns) have a return."""
    return int(np.count_nonzero((range_m > 0).any(0)))


def _statistics(counted: list[_Counted], stream: LidarStream) -> SweepStatistics:
    ranges = np.concatenate([one.ranges for one in counted])
    points, dropped = sum(one.points for one in counted), sum(one.dropped for one in counted)
    low, middle, high = np.quantile(ranges, (0.01, 0.5, 0.99)) if len(ranges) else (0.0, 0.0, 0.0)
    return SweepStatistics(
        sweeps=len(counted),
        returns_per_sweep=sum(one.returns for one in counted) / len(counted),
        valid_share=len(ranges) / (len(counted) * stream.sensor.rows * stream.sensor.columns),
        range_quantiles_m=(float(low), float(middle), float(high)) if len(ranges) else None,
        dropped_share=dropped / points if points else None,
        hidden_share=(points - dropped - len(ranges)) / points if points else None,
    )


def _statistics_problems(statistics: SweepStatistics, stream: LidarStream) -> list[str]:
    if statistics.range_quantiles_m is None:
        return ["no return in any of the sweeps read"]
    if (statistics.dropped_share or 0.0) > _LARGEST_DROPPED_SHARE:
        share = f"{statistics.dropped_share:.0%} of the points lie outside the field of view of {stream.sensor.name}"
        return [f"{share}: is it another sensor? (--sensor)"]
    return []
