"""Content and findings of a clip: what `cosmos-lidar inspect` shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from cosmos_lidar.clips.checks._listing import find_checks, run_checks
from cosmos_lidar.clips.checks._recording import Recording
from cosmos_lidar.clips.clip import Clip, LidarStream
from cosmos_lidar.clips.finding import Finding
from cosmos_lidar.clips.sweep_counts import SweepStatistics, statistics_of


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
        problems: the errors among its findings, one sentence each.
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
        problems: the errors among the findings, one sentence each; empty for a good clip.
        notes: remarks of the reader.
        lidars: one by one, the main one first.
        findings: of all checks and of the reader, with file, frame and evidence: errors, warnings and notes.
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
    findings: tuple[Finding, ...] = ()

    def to_dict(self) -> dict:
        """Return plain lists, numbers and texts, for JSON."""
        return asdict(self)


def check_clip(clip: Clip, sweeps: int = 3, checks: Sequence[str] | None = None) -> ClipHealth:
    """Return what `inspect` shows of a clip.

    Args:
        clip: the clip.
        sweeps: so many sweeps of each lidar, evenly spread, with their neighbors, and the first images of each camera
            are read; 0 reads nothing.
        checks: names of the checks to run (files of ``clips/checks``); None for all.

    Raises:
        UserError: an unknown check.
    """
    modules = find_checks(checks, reading=sweeps > 0)
    recording = Recording(clip, sweeps, modules)
    findings = run_checks(recording, modules.values())
    lidars = tuple(_lidar_health(recording, stream, findings) for stream in clip.lidars.values())
    main = lidars[0] if lidars else None
    problems = [] if lidars or clip.cameras else ["neither lidar nor camera in it"]
    problems += [with_stream(one, len(lidars) > 1) for one in findings if one.severity == "error"]
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
        findings=findings,
    )


def with_stream(finding: Finding, several_lidars: bool) -> str:
    """Return the text of a finding after the name of its camera, or of its lidar where there are several."""
    stream = finding.camera or (finding.lidar if several_lidars else None)
    return finding.text if stream is None else f"{stream}: {finding.text}"


def _lidar_health(recording: Recording, stream: LidarStream, findings: Sequence[Finding]) -> LidarHealth:
    own = [one for one in findings if one.lidar == stream.name]
    read = [recording.sweep(stream, index) for index in recording.chosen(stream)]
    held = dict.fromkeys(name for sweep in read if sweep is not None for name in sweep.held)
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
        held=tuple(held),
        statistics=statistics_of(list(recording.counted(stream).values()), stream),
        problems=tuple(one.text for one in own if one.severity == "error"),
        notes=tuple(one.text for one in own if one.severity == "note"),
    )
