"""Frames of a viewer page: which sweeps and images belong together, read and packed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cosmos_lidar.clips.camera_pose import project_sweep
from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.clips.sweep import Sweep, to_points
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.viz.cloud_figure import stage_of
from cosmos_lidar.viz.frame_blocks import Blocks, jpeg, map_png, pack_overlay, pack_points

_US = 1e6


@dataclass(frozen=True)
class PageLimits:
    """What bounds the size of a viewer page.

    Attributes:
        points: points per sweep in the 3D view; a third of that is drawn on each image.
        image_width: pixels; wider images are made smaller.
        megabytes: of the page; frames beyond are left out.
    """

    points: int = 30_000
    image_width: int = 960
    megabytes: float = 30.0

    def __post_init__(self) -> None:
        """Refuse limits that leave nothing to show."""
        if self.points < 3 or self.image_width < 16 or not self.megabytes > 0:
            raise UserError(
                f"{self.points} points, images of {self.image_width} pixels, {self.megabytes:g} MB: "
                "expected at least 3 points, 16 pixels, and more than 0 MB"
            )


@dataclass(frozen=True)
class PackedFrame:
    """One frame, as the page holds it.

    Attributes:
        index: its number: of the sweep of the main lidar, or of the image of the first camera.
        about: what the page's script reads (title, seconds, sweeps per lidar, images per camera, problems).
        blocks: what ``about`` refers to by number.
        error: the first thing that could not be read.
    """

    index: int
    about: dict[str, Any]
    blocks: Blocks
    error: DataError | None

    @property
    def empty(self) -> bool:
        """Whether nothing of it could be read."""
        return not any([*self.about["sweeps"], *self.about["images"]])


def frame_count(clip: Clip) -> int:
    """Return the number of frames: sweeps of the main lidar, or images of the first camera without a lidar."""
    return len(clip) if clip.lidars else max((len(camera) for camera in list(clip.cameras.values())[:1]), default=0)


def middle_us(clip: Clip, index: int) -> int:
    """Return the time of a frame in microseconds: the middle of its sweep, or that of its image."""
    if clip.lidars:
        return int(clip.timestamps_us[index].mean())
    return int(next(iter(clip.cameras.values())).timestamps_us[index])


def image_number(clip: Clip, camera: CameraStream, index: int) -> int | None:
    """Return the image that the recording names for a sweep, else the nearest in time; None if there are no images."""
    named = clip.lidar.image_numbers if clip.lidars else None
    if named is not None and 0 <= int(named[index]) < len(camera):
        return int(named[index])
    return int(np.abs(camera.timestamps_us - middle_us(clip, index)).argmin()) if len(camera) else None


def sweep_number(clip: Clip, lidar: LidarStream, index: int) -> int | None:
    """Return the sweep of a lidar that belongs to a frame: the nearest in time, None beyond the time of one sweep."""
    if lidar is clip.lidar:
        return index
    if not len(lidar):
        return None
    gaps_us = np.abs(lidar.timestamps_us.mean(axis=1) - middle_us(clip, index))
    rates = [rate for rate in (lidar.rate_hz, clip.lidar.rate_hz) if rate is not None]
    nearest = int(gaps_us.argmin())
    return nearest if not rates or gaps_us[nearest] <= _US / min(rates) else None


def pack_frame(clip: Clip, index: int, limits: PageLimits) -> PackedFrame:
    """Read the sweeps of all lidars and the images of all cameras of a frame, and project the points on the images.

    What is broken is left out and named in ``about["problems"]``.
    """
    work = _Work(limits)
    start_us = middle_us(clip, 0)
    numbers = {name: image_number(clip, camera, index) for name, camera in clip.cameras.items()}
    images = [work.attempt(_image, clip.cameras[name], number) for name, number in numbers.items()]
    sweeps = []
    for name in clip.lidars:
        number = sweep_number(clip, clip.lidars[name], index)
        sweeps.append(work.attempt(_sweep, clip.choose_lidar(name), number, numbers))
    for (name, number), image in zip(numbers.items(), images, strict=True):
        if image is not None and number is not None:
            gap_ms = (int(clip.cameras[name].timestamps_us[number]) - middle_us(clip, index)) / 1000
            image["title"] = f"image {number}" + (f", {gap_ms:+.0f} ms" if clip.lidars else "")
    title = f"sweep {index} · {clip.frame_ids[index]}" if clip.lidars else f"image {index}"
    about = {
        "title": title, "seconds": (middle_us(clip, index) - start_us) / _US, "sweeps": sweeps, "images": images,
        "problems": [str(error) for error in work.errors],
    }  # fmt: skip
    return PackedFrame(index, about, work.blocks, work.errors[0] if work.errors else None)


@dataclass
class _Work:
    limits: PageLimits
    blocks: Blocks = field(default_factory=Blocks)
    errors: list[DataError] = field(default_factory=list)

    def attempt(
        self, pack: Callable[..., dict[str, Any]], of: Any, number: int | None, *more: Any
    ) -> dict[str, Any] | None:
        if number is None:
            return None
        try:
            return pack(self, of, number, *more)
        except DataError as error:
            self.errors.append(error)
            return None


def _image(work: _Work, camera: CameraStream, number: int) -> dict[str, Any]:
    content, width, height = jpeg(camera.read(number), work.limits.image_width)
    return {"block": work.blocks.add(content), "width": width, "height": height}


def _sweep(work: _Work, clip: Clip, number: int, images: dict[str, int | None]) -> dict[str, Any]:
    """Pack a sweep of the main lidar of ``clip``, as a range map, as points, and as points on images."""
    lidar = clip.lidar
    sweep = lidar.read(number)
    cloud = to_points(sweep, lidar.sensor)
    about, content = pack_points(cloud, work.limits.points)
    range_m = range_map_of(lidar, sweep, number)
    points = np.asarray(cloud.points)
    return {
        **about, "number": number, "title": f"sweep {number} · {lidar.frame_ids[number]}",
        "points": work.blocks.add(content), "map": work.blocks.add(map_png(range_m)),
        "rows": range_m.shape[0], "columns": range_m.shape[1],
        "stage": stage_of(points[np.isfinite(points).all(axis=1)]),
        "classes": [] if cloud.labels is None else np.unique(cloud.labels).tolist(),
        "overlays": [_overlay(work, clip, number, name, image, cloud) for name, image in images.items()],
    }  # fmt: skip


def is_placed(clip: Clip, camera: CameraStream) -> bool:
    """Return whether lens and place of a camera are known, so that points of the main lidar can be drawn on it."""
    by_poses = clip.world_SE3_lidar is not None and camera.world_SE3_camera is not None
    return camera.model is not None and (by_poses or camera.lidar_SE3_camera is not None)


def range_map_of(lidar: LidarStream, sweep: Sweep, number: int) -> np.ndarray:
    """Return (rows, columns) meters of a sweep that has been read, as ``LidarStream.range_map``; 0 without points."""
    if sweep.range_m is not None:
        return sweep.range_m
    if not len(np.asarray(sweep.points)):
        return np.zeros(lidar.sensor.shape, np.float32)
    return np.asarray(lidar.project(sweep, number).range_m)


def _overlay(work: _Work, clip: Clip, number: int, name: str, image: int | None, cloud: Sweep) -> dict[str, Any] | None:
    """Return the points of a sweep on an image; None where lens or place of the camera are not known."""
    camera = clip.cameras[name]
    if image is None or camera.model is None or not is_placed(clip, camera) or cloud.points is None:
        return None
    seen = project_sweep(clip, camera, number, image, cloud.points, cloud.time_us)
    range_m = np.linalg.norm(cloud.points, axis=1)
    size = (camera.model.width, camera.model.height)
    count, content = pack_overlay(seen, range_m, size, work.limits.points // 3)
    return {"block": work.blocks.add(content), "count": count}
