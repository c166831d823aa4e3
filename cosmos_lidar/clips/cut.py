"""Part of a clip as a clip of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from cosmos_lidar.clips.clip import Clip, Sweep


@dataclass(frozen=True)
class _From:
    """Reads sweeps counted from a later one; a class, so that clips that pickle still do."""

    read: Callable[[int], Sweep]
    start: int

    def __call__(self, index: int) -> Sweep:
        return self.read(self.start + index)


def cut_clip(clip: Clip, start: int, stop: int) -> Clip:
    """Return sweeps start … stop - 1 of the main lidar as a clip, without cameras and other lidars.

    Args:
        clip: what to cut.
        start: first sweep.
        stop: one past the last sweep.
    """
    lidar, poses, images = clip.lidar, clip.lidar.world_SE3_lidar, clip.lidar.image_numbers
    part = replace(
        lidar,
        frame_ids=lidar.frame_ids[start:stop],
        timestamps_us=lidar.timestamps_us[start:stop],
        read=_From(lidar.read, start),
        world_SE3_lidar=None if poses is None else poses[start:stop],
        image_numbers=None if images is None else images[start:stop],
    )
    clip_id = f"{clip.clip_id}_sweeps{start}to{stop - 1}"
    return replace(clip, clip_id=clip_id, lidars={lidar.name: part}, cameras={})
