"""The images that belong to a sweep, as a network sees them; the rays of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from cosmos_lidar.clips.camera_pose import camera_in_sweep
from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.clips.rig import MountedCamera
from cosmos_lidar.clips.source_state import frame_state
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.lidargen.canvas import CanvasLayout
from cosmos_lidar.families.lidargen.rays import canvas_rays
from cosmos_lidar.sensors.range_image import cut_columns, cut_image
from cosmos_lidar.sensors.sensor import Sensor

ImageRule = Literal["frame_indices", "nearest"]
IMAGE_RULES: tuple[ImageRule, ...] = ("frame_indices", "nearest")


@dataclass(frozen=True, kw_only=True)
class FrameViews:
    """Which images belong to a frame, and how they are laid out with its range map.

    Attributes:
        cameras: names, in the order of the slots.
        image_size: (height, width) that images are scaled and cut to.
        tolerance_s: how far the nearest image may be from the middle of the sweep.
        image_rule: which image of a camera belongs to a sweep. ``frame_indices``: the one that the recording names, as
            published; where it names none, the nearest. ``nearest``: the one nearest to the middle of the sweep.
        lidar_step: pixels of a range map, along rows and columns, that one latent stands for.
        image_step: the same of an image.
    """

    cameras: tuple[str, ...]
    image_size: tuple[int, int] = (704, 1280)
    tolerance_s: float = 0.06
    lidar_step: int = 8
    image_step: int = 8
    image_rule: ImageRule = "frame_indices"

    def __post_init__(self) -> None:
        """Refuse an unknown rule."""
        if self.image_rule not in IMAGE_RULES:
            raise UserError(f"image rule {self.image_rule!r}: valid: {', '.join(IMAGE_RULES)}")

    def layout(self, sensor: Sensor) -> CanvasLayout:
        """Return the canvas of a sensor's range maps and these images."""
        width = cut_columns(sensor.format, sensor.columns // sensor.format.pair_columns, self.lidar_step)
        size = (self.image_size[0] // self.image_step, self.image_size[1] // self.image_step)
        rows = sensor.rows * sensor.format.repeat_rows // self.lidar_step
        return CanvasLayout((rows, width // self.lidar_step), size, len(self.cameras))

    def images(self, clip: Clip, index: int) -> Tensor:
        """Return the images (views, 3, H, W) in [-1, 1] that belong to a sweep.

        Raises:
            DataError: a camera is not there, or has no image of the sweep.
        """
        chosen = [self.image_of(clip, name, index) for name in self.cameras]
        return torch.cat([fit_image(stream.read(number), self.image_size) for stream, number in chosen])

    def rays(self, clip: Clip, index: int, mirrored: bool = False) -> np.ndarray | None:
        """Return the rays (1 + views, rows, columns, 6) float32 of the tokens of a frame's canvas.

        None where a camera has no lens, or no place on the car.

        Args:
            clip: with cameras.
            index: number of the frame.
            mirrored: of the frame as a mirror shows it; the lidar's place on the vehicle stays as it is.

        Raises:
            DataError: a camera is not there, or has no image of the sweep.
        """
        rig = self.rig(clip, index)
        if rig is None:
            return None
        steps = self.lidar_step, self.image_step
        return canvas_rays(rig, clip.sensor, self.layout(clip.sensor), self.image_size, steps, mirrored)

    def rig(self, clip: Clip, index: int) -> list[MountedCamera] | None:
        """Return the cameras as they took the images of a frame, in the axes of the lidar in mid-sweep.

        None where a camera has no lens, or no place on the car.

        Raises:
            DataError: a camera is not there, or has no image of the sweep.
        """
        chosen = [self.image_of(clip, name, index) for name in self.cameras]
        for stream, _ in chosen:
            if stream.model is None or (stream.lidar_SE3_camera is None and stream.world_SE3_camera is None):
                return None
        return [
            MountedCamera(stream.name, stream.model, camera_in_sweep(clip, stream, index, number))
            for stream, number in chosen
            if stream.model is not None
        ]

    def state(self, clip: Clip, index: int) -> str:
        """Return a text that changes with the files, lenses and poses that a frame and its images are read from."""
        numbers: dict[str, int | None] = {}
        for name in self.cameras:
            try:
                numbers[name] = self.image_of(clip, name, index)[1]
            except DataError:
                numbers[name] = None
        return frame_state(clip, index, numbers)

    def rule_of(self, clip: Clip) -> ImageRule:
        """Return the rule that holds for a clip: ``nearest`` where the recording names no images."""
        return "nearest" if clip.lidar.image_numbers is None else self.image_rule

    def rules(self, clips: Sequence[Clip]) -> dict[str, object]:
        """Return a manifest's entry about the choice of images: the rule, and the clips of each rule."""
        by_rule = {rule: [clip.clip_id for clip in clips if self.rule_of(clip) == rule] for rule in IMAGE_RULES}
        return {"asked": self.image_rule, "clips": by_rule}

    def image_of(self, clip: Clip, name: str, index: int) -> tuple[CameraStream, int]:
        """Return a camera, and which of its images belongs to a sweep, by :meth:`rule_of`.

        Raises:
            DataError: the camera is not there, has fewer images than the recording names, or none near enough in time.
        """
        stream = clip.cameras.get(name)
        if stream is None:
            found = ", ".join(clip.cameras) or "none"
            raise DataError(f"no camera {name}", file=clip.source, clip=clip.clip_id, wanted=f"one of: {found}")
        named = clip.lidar.image_numbers
        if named is None or self.image_rule == "nearest":
            return stream, self._nearest(clip, stream, index)
        number = int(named[index])
        if not 0 <= number < len(stream):
            raise DataError(
                f"camera {stream.name}: image {number} of {len(stream)}", file=clip.source, clip=clip.clip_id,
                key=f"frame {clip.frame_ids[index]}", wanted=f"0 to {len(stream) - 1} in frame_indices",
            )  # fmt: skip
        return stream, number

    def _nearest(self, clip: Clip, stream: CameraStream, index: int) -> int:
        middle_us = float(clip.timestamps_us[index].mean())
        gaps_s = np.abs(stream.timestamps_us - middle_us) / 1e6
        if not len(gaps_s) or gaps_s.min() > self.tolerance_s:
            nearest = f"nearest of {len(gaps_s)} images {gaps_s.min():.3f} s away" if len(gaps_s) else "no image"
            raise DataError(
                f"camera {stream.name}: {nearest}", file=clip.source, clip=clip.clip_id,
                key=f"frame {clip.frame_ids[index]}", wanted=f"at most {self.tolerance_s:g} s (--tolerance)",
            )  # fmt: skip
        return int(gaps_s.argmin())


def lidar_image(clip: Clip, index: int, step: int) -> Tensor:
    """Return the image (1, 3, H, W) in [-1, 1] of a range map, cut in the middle."""
    return cut_image(clip.range_map(index), clip.sensor.format, step)


def fit_image(image: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Return (1, 3, H, W) in [-1, 1]: scaled to cover ``size`` (bilinear, antialiased), cut in the middle.

    An image of 1080 x 1920 becomes 720 x 1280 and is cut to 704 x 1280, as published.
    """
    x = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255.0
    scale = max(size[0] / x.shape[2], size[1] / x.shape[3])
    covering = tuple(max(round(side * scale), least) for side, least in zip(x.shape[2:], size, strict=True))
    x = nn.functional.interpolate(x, size=covering, mode="bilinear", antialias=True)
    top, left = ((have - want) // 2 for have, want in zip(covering, size, strict=True))
    return (x[..., top : top + size[0], left : left + size[1]] - 0.5) / 0.5
