"""The files that ``autoencode`` leaves behind for one clip: videos, images, point clouds, metrics."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from cosmos_lidar.families.lidar_tokenizer.autoencode import DecodedFrame, frame_points
from cosmos_lidar.families.lidar_tokenizer.histogram import histogram_image
from cosmos_lidar.families.lidar_tokenizer.score import ClipScore
from cosmos_lidar.files import atomic_write
from cosmos_lidar.viz.images import caption_image, stack_images, write_png
from cosmos_lidar.viz.point_cloud import ORIGINAL_COLOR, RECONSTRUCTION_COLOR, render_points
from cosmos_lidar.viz.point_files import write_ply
from cosmos_lidar.viz.range_map import RangeLimits, published_colors, quantile_limits
from cosmos_lidar.viz.video import write_video

_KINDS = ("original", "reconstructed")


@dataclass(frozen=True)
class OutputOptions:
    """What is written, and how it looks.

    Attributes:
        folder: results of all clips go below this folder.
        fps: frames per second of the videos.
        colormap: of the range maps.
        point_video: also render the point clouds to a video.
    """

    folder: Path
    fps: float = 10.0
    colormap: str = "Spectral"
    point_video: bool = True


def write_outputs(
    scene: str, frames: Iterable[DecodedFrame], score: ClipScore, limits: RangeLimits, output: OutputOptions
) -> list[Path]:
    """Consume the decoded frames of a clip, score them and write all files; one frame is in memory at a time.

    Args:
        scene: name of the clip, and of its files.
        frames: at least one.
        score: fed with every frame; must have been made with directions.
        limits: of the colors of the range maps, such as :func:`published_limits`.
        output: where to write and how it looks.

    Returns:
        The files and folders that were written, without the metrics file (see :func:`~cosmos_lidar.files.write_json`).
    """
    points = output.folder / "points" / scene
    names: list[str] = []
    stacked = _range_images(_named(frames, names), score, limits, output, scene)
    written = [output.folder / "range_map_video" / f"{scene}.mp4", output.folder / "range_map" / scene, points]
    write_video(written[0], stacked, output.fps)
    written.append(output.folder / "histogram" / f"{scene}.png")
    result = score.errors.result()
    write_png(written[-1], histogram_image(result, score.errors.protocol.histogram_max_m, scene))
    if output.point_video:
        written.append(output.folder / "point_cloud" / f"{scene}.mp4")
        write_video(written[-1], _point_images(points, names), output.fps)
    return written


def published_limits(middle: DecodedFrame) -> RangeLimits:
    """Return the limits of the published colors: quantiles of the middle frame, original and reconstruction together.

    Only what lies inside the range limits counts (5 to 100 m as published); elsewhere both are 0.
    """
    return quantile_limits(_both(middle))


def _both(frame: DecodedFrame) -> np.ndarray:
    return np.concatenate((frame.valid_m, frame.reconstruction_m))


def _named(frames: Iterable[DecodedFrame], names: list[str]) -> Iterator[DecodedFrame]:
    for frame in frames:
        names.append(_file_name(frame.frame_id))
        yield frame


def _range_images(
    frames: Iterable[DecodedFrame], score: ClipScore, limits: RangeLimits, output: OutputOptions, scene: str
) -> Iterator[np.ndarray]:
    """Yield original above reconstruction, leaving each frame's own files behind on the way."""
    for frame in frames:
        score.add(frame)
        name = _file_name(frame.frame_id)
        colors = published_colors(_both(frame), output.colormap, *limits)
        write_png(output.folder / "range_map" / scene / f"{name}.png", colors)
        _write_points(output.folder / "points" / scene, name, frame, cast(np.ndarray, score.directions))
        yield colors


def _write_points(folder: Path, name: str, frame: DecodedFrame, directions: np.ndarray) -> None:
    colors = (ORIGINAL_COLOR, RECONSTRUCTION_COLOR)
    for kind, range_m, color in zip(_KINDS, (frame.reference_m, frame.reconstruction_m), colors, strict=True):
        points = frame_points(range_m, frame.source, directions)
        with atomic_write(folder / f"{name}_{kind}.npz") as partial, partial.open("wb") as file:
            np.savez(file, points=points)
        write_ply(folder / f"{name}_{kind}.ply", points, color)


def _point_images(folder: Path, names: list[str]) -> Iterator[np.ndarray]:
    for name in names:
        panels = []
        for kind, color in zip(_KINDS, (ORIGINAL_COLOR, RECONSTRUCTION_COLOR), strict=True):
            with np.load(folder / f"{name}_{kind}.npz", allow_pickle=False) as file:
                panels.append(caption_image(render_points(file["points"], color, 1280, 720), kind.capitalize()))
        yield stack_images(panels)


def _file_name(frame_id: str) -> str:
    return frame_id.replace("/", "_").replace(os.sep, "_")
