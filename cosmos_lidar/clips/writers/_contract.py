"""Types that writers of clips share: options, what was written, and which values were lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.sweep import Sweep

Progress = Callable[[int], None]

# What a clip may hold, by the names that HOLDS and reports have.
VALUES = {
    "names": "the dataset's names of lidars and cameras",
    "range_image": "range images as they are, pixel by pixel",
    "points": "points as they are",
    "intensity": "intensity of each return",
    "labels": "semantic class of each return",
    "instance": "instance number of each return",
    "time_us": "time of each return",
    "ring": "number of the laser of each return",
    "elongation": "elongation of the echo of each return",
    "returns": "second returns",
    "sensor": "beams of the lidar",
    "frame_ids": "the dataset's names of frames",
    "times": "start and end of each sweep",
    "poses": "poses of the lidar at start and end of each sweep",
    "trajectory": "poses of the lidar within sweeps",
    "reference": "whether, and to which time, points were compensated for motion",
    "mounting": "mounting of the lidar on the vehicle",
    "lidars": "further lidars",
    "images": "images of the cameras",
    "lens": "lenses of the cameras",
    "camera_times": "times of the images",
    "camera_poses": "poses of the cameras",
    "camera_mounting": "mountings of the cameras",
    "boxes": "boxes of objects",
    "lane_lines": "lane lines",
}
_OF_SWEEPS = {"range_m": "range_image", "second_return": "returns"}


@dataclass(frozen=True)
class WriteOptions:
    """Options of writers; each takes what it has a use for.

    Attributes:
        caption: text about the clips, for layouts with a caption per video; empty for none.
    """

    caption: str = ""


@dataclass(frozen=True)
class Written:
    """A clip that was written.

    Attributes:
        frames: sweeps of the main lidar, or images where there is no lidar.
        files: written for this clip alone, relative to the folder.
        lost: value -> what of it the layout does not hold.
    """

    frames: int
    files: tuple[str, ...]
    lost: dict[str, str] = field(default_factory=dict)


class Losses:
    """Values of a clip that a layout cannot hold, by name.

    Args:
        clip: what is written.
        holds: names of :data:`VALUES` that the layout has room for.
    """

    def __init__(self, clip: Clip, holds: frozenset[str]) -> None:
        unknown = holds - VALUES.keys()
        if unknown:
            raise ValueError(f"HOLDS names {', '.join(sorted(unknown))}, which VALUES lacks")
        self._holds = holds
        self.found: dict[str, str] = {}
        for value in _of_clip(clip):
            self._miss(value)

    def add(self, value: str, what: str) -> None:
        """Note that ``value`` is lost in part or changed; ``what`` of it."""
        if value not in VALUES:
            raise ValueError(f"no value {value}: one of {', '.join(VALUES)}")
        self.found[value] = what

    def see(self, sweep: Sweep) -> Sweep:
        """Note what a sweep has and the layout lacks; returns the sweep."""
        for name in sweep.held:
            if name != "points" or sweep.range_m is None:
                self._miss(_OF_SWEEPS.get(name, name))
        return sweep

    def _miss(self, value: str) -> None:
        if value not in self._holds:
            self.found.setdefault(value, f"not held by the layout: {VALUES[value]}")


def _of_clip(clip: Clip) -> list[str]:
    """Return the values that a clip has beside its sweeps."""
    cameras = clip.cameras.values()
    has = {
        "images": any(map(len, cameras)),
        "camera_times": any(map(len, cameras)),
        "lens": any(camera.model is not None for camera in cameras),
        "camera_poses": any(camera.world_SE3_camera is not None for camera in cameras),
        "camera_mounting": any(
            camera.lidar_SE3_camera is not None or camera.ego_SE3_camera is not None for camera in cameras
        ),
        "boxes": clip.boxes is not None,
        "lane_lines": clip.lane_lines is not None,
        "lidars": len(clip.lidars) > 1,
        "names": bool(clip.lidars or clip.cameras),
    }
    if clip.lidars:
        main = clip.lidar
        has |= {
            "sensor": True,
            "frame_ids": True,
            "times": True,
            "poses": main.world_SE3_lidar is not None,
            "trajectory": main.trajectory is not None,
            "reference": main.motion_compensated,
            "mounting": main.ego_SE3_lidar is not None,
        }
    return [value for value, there in has.items() if there]
