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
    """Return sweeps start … stop - 1 as a clip, without its cameras; the id tells the cut."""
    poses = clip.world_SE3_lidar
    return replace(
        clip,
        clip_id=f"{clip.clip_id}_sweeps{start}to{stop - 1}",
        frame_ids=clip.frame_ids[start:stop],
        timestamps_us=clip.timestamps_us[start:stop],
        read_sweep=_From(clip.read_sweep, start),
        world_SE3_lidar=None if poses is None else poses[start:stop],
        cameras={},
    )
