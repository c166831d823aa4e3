"""HTML report of a recording: range maps, point clouds and camera images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.clip import Clip, LidarStream
from cosmos_lidar.progress import track
from cosmos_lidar.viz.cloud_figure import Cloud, CloudFrame
from cosmos_lidar.viz.report import Report

_IMAGE_WIDTH = 960
_MOST_POINTS = 100_000


def spread(count: int, wanted: int) -> list[int]:
    """Return up to ``wanted`` of the numbers 0..count-1, evenly spread, the first and the last among them."""
    return sorted({int(at) for at in np.round(np.linspace(0, count - 1, min(wanted, count)))}) if count else []


def write_recording_report(path: str | Path, title: str, clips: Sequence[Clip], frames_per_clip: int = 5) -> Path:
    """Write an HTML report of clips: facts, range maps, interactive point clouds, and camera images.

    Args:
        path: HTML file to write.
        title: of the page.
        clips: what to show.
        frames_per_clip: that many sweeps of each clip, evenly spread.
    """
    report = Report(title, f"Read as {clips[0].format}. {frames_per_clip} sweeps of each clip at most are shown.")
    for clip in track(clips, "view", "clips"):
        _add_clip(report, clip, spread(len(clip), frames_per_clip))
    return report.write(path)


def _add_clip(report: Report, clip: Clip, shown: list[int]) -> None:
    report.heading(clip.clip_id).facts(_facts(clip))
    maps, clouds = [], []
    for index in shown:
        name = f"sweep {index} · {clip.frame_ids[index]}"
        maps.append((name, clip.range_map(index)))
        clouds.append(CloudFrame(name, [Cloud(clip.sensor.name, clip.points(index))]))
    if shown:
        report.recorded_maps("Range maps", maps)
        report.point_clouds(clouds, most_points=_MOST_POINTS)
    for camera in clip.cameras.values():
        if len(camera):
            middle = len(camera) // 2
            report.image(_small(camera.read(middle)), f"{camera.name}, image {middle} of {len(camera)}")


def _facts(clip: Clip) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    for lidar in list(clip.lidars.values())[:1]:
        rows, columns = lidar.sensor.shape
        facts += [("Sweeps", _length(lidar)), ("Lidar", f"{lidar.sensor.name}, {rows} × {columns}")]
        facts.append(("Poses", "yes" if lidar.world_SE3_lidar is not None else "no"))
    others = [f"{lidar.name} ({lidar.sensor.name}, {_length(lidar)})" for lidar in list(clip.lidars.values())[1:]]
    if others:
        facts.append(("Further lidars", ", ".join(others)))
    cameras = ", ".join(f"{name} ({len(camera)})" for name, camera in clip.cameras.items()) or "none"
    return [*facts, ("Cameras", cameras), *(("Note", note) for note in clip.notes)]


def _length(lidar: LidarStream) -> str:
    seconds = (int(lidar.timestamps_us[-1][1]) - int(lidar.timestamps_us[0][0])) / 1e6 if len(lidar) else 0.0
    return f"{len(lidar)} in {seconds:.1f} s"


def _small(image: np.ndarray) -> np.ndarray:
    from PIL import Image

    small = Image.fromarray(image)
    small.thumbnail((_IMAGE_WIDTH, _IMAGE_WIDTH))
    return np.asarray(small)
