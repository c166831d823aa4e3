"""Part of a clip as a clip of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cosmos_lidar.clips.clip import CameraStream, Clip, LidarStream
from cosmos_lidar.errors import DataError


@dataclass(frozen=True)
class ReadFrom:
    """Reads sweeps or images counted from a later one; a class, so that clips that pickle still do."""

    read: Callable[[int], Any]
    start: int

    def __call__(self, index: int) -> Any:
        """Return what the whole recording has at ``start + index``."""
        return self.read(self.start + index)


def cut_clip(clip: Clip, start: int, stop: int) -> Clip:
    """Return sweeps start … stop - 1 of the main lidar as a clip, without cameras and other lidars.

    Args:
        clip: what to cut.
        start: first sweep.
        stop: one past the last sweep.
    """
    lidar = clip.lidar
    clip_id = f"{clip.clip_id}_sweeps{start}to{stop - 1}"
    return replace(clip, clip_id=clip_id, lidars={lidar.name: _cut_lidar(lidar, start, stop)}, cameras={})


def cut_frames(clip: Clip, start: int, stop: int) -> Clip:
    """Return sweeps start … stop - 1 of the main lidar, and what other lidars and cameras saw in their time.

    The first part begins with the first image, the last one ends with the last: nothing is left between parts. Of a
    clip without lidar, images start … stop - 1 of its cameras are taken.

    Args:
        clip: what to cut; the id stays.
        start: first sweep.
        stop: one past the last sweep; beyond the end: all sweeps.

    Raises:
        DataError: the clip ends before ``start``.
    """
    count = len(clip) if clip.lidars else max(map(len, clip.cameras.values()), default=0)
    if start >= count:
        problem = f"{count} frames, none from {start} on"
        raise DataError(problem, file=clip.source, clip=clip.clip_id, key="frames", wanted="frames that are there")
    if not clip.lidars:
        return replace(clip, cameras={name: _cut_camera(one, start, stop) for name, one in clip.cameras.items()})
    main = clip.lidar
    stop = min(stop, len(main))
    starts = main.timestamps_us[:, 0]
    first_us = starts[start] if start else np.iinfo(np.int64).min
    last_us = starts[stop] if stop < len(main) else np.iinfo(np.int64).max
    spans = {name: np.searchsorted(one.timestamps_us, [first_us, last_us]) for name, one in clip.cameras.items()}
    cameras = {name: _cut_camera(one, *map(int, spans[name])) for name, one in clip.cameras.items()}
    lidars = {}
    for name, one in clip.lidars.items():
        span = (start, stop) if one is main else map(int, np.searchsorted(one.timestamps_us[:, 0], [first_us, last_us]))
        lidars[name] = _cut_lidar(one, *span)
        numbers, skipped = lidars[name].image_numbers, {int(span[0]) for span in spans.values()}
        if numbers is not None:  # they count the images of every camera alike
            lidars[name] = replace(lidars[name], image_numbers=numbers - skipped.pop() if len(skipped) == 1 else None)
    return replace(clip, lidars=lidars, cameras=cameras)


def _cut_lidar(lidar: LidarStream, start: int, stop: int) -> LidarStream:
    return replace(
        lidar,
        frame_ids=lidar.frame_ids[start:stop],
        timestamps_us=lidar.timestamps_us[start:stop],
        read=ReadFrom(lidar.read, start),
        world_SE3_lidar=_part(lidar.world_SE3_lidar, start, stop),
        image_numbers=_part(lidar.image_numbers, start, stop),
        reference_us=_part(lidar.reference_us, start, stop),
    )


def _cut_camera(camera: CameraStream, start: int, stop: int) -> CameraStream:
    return replace(
        camera,
        timestamps_us=camera.timestamps_us[start:stop],
        read=ReadFrom(camera.read, start),
        world_SE3_camera=_part(camera.world_SE3_camera, start, stop),
    )


def _part(array: np.ndarray | None, start: int, stop: int) -> np.ndarray | None:
    return None if array is None else array[start:stop]
