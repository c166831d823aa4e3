"""Lane lines as a control image: yellow, darker with distance."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image, ImageDraw

from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.clips.controls import Control, camera_SE3_world_of, lens_for
from cosmos_lidar.clips.controls._lines import project_line, segments
from cosmos_lidar.clips.controls.depth import brightness
from cosmos_lidar.errors import DataError

COLOR = (255, 220, 60)
_STEP_M = 1.0  # longest piece that is drawn straight
_FARTHEST_M = 150.0
_WIDTH = 320  # a line covers this share of the image's width, at least one pixel


@dataclass(frozen=True)
class LaneImages:
    """Draws the lane lines of a clip, which are read once."""

    clip: Clip

    @cached_property
    def lines(self) -> list[np.ndarray]:
        """The lines (P, 3) in the world, in pieces of a meter."""
        assert self.clip.lane_lines is not None  # _open has looked
        return [_divided(line) for line in self.clip.lane_lines() if len(line) > 1]

    def __call__(self, camera: CameraStream, image: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """Return (H, W, 3) uint8.

        Raises:
            DataError: the camera has no lens or no poses, or the lines cannot be read.
        """
        lens = lens_for(self.clip, camera, size)
        camera_SE3_world = camera_SE3_world_of(self.clip, camera, image)
        drawn = Image.new("RGB", (lens.width, lens.height))
        draw, width = ImageDraw.Draw(drawn), max(1, round(lens.width / _WIDTH))
        for line in self.lines:
            points = line @ camera_SE3_world[:3, :3].T + camera_SE3_world[:3, 3]
            distance = np.linalg.norm(points, axis=-1)
            if distance.min() > _FARTHEST_M:
                continue
            shades = brightness(distance) / 255.0
            for place, start, end in segments(project_line(lens, points)):
                red, green, blue = (round(part * float(shades[place])) for part in COLOR)
                draw.line([start, end], fill=(red, green, blue), width=width)
        return np.asarray(drawn)


def _divided(line: np.ndarray) -> np.ndarray:
    """Return a line with points at most a meter apart."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=-1))])
    wanted = np.unique(np.concatenate([along, np.arange(0.0, along[-1], _STEP_M)]))
    return np.stack([np.interp(wanted, along, line[:, axis]) for axis in range(3)], axis=-1)


def _open(clip: Clip) -> LaneImages:
    if clip.lane_lines is None:
        wanted = "synthetic drives, or 3d_lanelines of the release layout or the multi-view guide's folder"
        raise DataError("no lane lines in it", file=clip.source, clip=clip.clip_id, wanted=wanted)
    return LaneImages(clip)


CONTROL = Control("lanes", "lane lines of the map", _open)
