"""What lidar is to be generated for: frames of recordings, or a few images with a calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cosmos_lidar.clips.camera_pose import project_sweep
from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.clips.rig import MountedCamera, load_rig
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.lidargen.encode import FrameEncoder
from cosmos_lidar.families.lidargen.figure import SeenView
from cosmos_lidar.families.lidargen.generator import LidarGenerator
from cosmos_lidar.families.lidargen.rays import canvas_rays
from cosmos_lidar.families.lidargen.views import fit_image
from cosmos_lidar.sensors.camera_projection import InImage, project_to_image


@dataclass(frozen=True)
class Frame:
    """One sweep to generate; nothing is read before it is asked for.

    Attributes:
        clip_id: the drive that it belongs to; empty for images without a recording.
        name: of its files.
        images: -> (views, 3, H, W) in [-1, 1].
        rays: -> (1 + views, rows, columns, 6), or None where calibration is missing.
        recorded: -> (rows, columns) meters of the recorded sweep, cut as the network's are; None without a recording.
        views: points -> the images, with where the points are in them; empty without calibration.
        image_rule: how the images were found (``cosmos_lidar.families.lidargen.views``); empty for images in files.
        image_numbers: -> number of the image of each camera; None for images in files.
    """

    clip_id: str
    name: str
    images: Callable[[], Tensor]
    rays: Callable[[], np.ndarray | None]
    recorded: Callable[[], np.ndarray] | None
    views: Callable[[np.ndarray], list[SeenView]]
    image_rule: str = ""
    image_numbers: Callable[[], list[int]] | None = None


def frames_of_clips(
    clips: Sequence[Clip], encoder: FrameEncoder, generator: LidarGenerator, most: int = -1
) -> list[Frame]:
    """Return the frames of clips, at most ``most`` of each, all for -1."""
    return [
        _recorded_frame(clip, index, encoder, generator)
        for clip in clips
        for index in range(len(clip) if most < 0 else min(most, len(clip)))
    ]


def _recorded_frame(clip: Clip, index: int, encoder: FrameEncoder, generator: LidarGenerator) -> Frame:
    def rays() -> np.ndarray | None:
        found = encoder.rays(clip, index)
        if found is None and generator.wants_rays:
            wanted = "intrinsics and pose of every camera: the checkpoint is ray-conditioned"
            raise DataError("no calibration", file=clip.source, clip=clip.clip_id, wanted=wanted)
        return found

    def views(points: np.ndarray) -> list[SeenView]:
        if encoder.rig(clip, index) is None:
            return []
        chosen = [encoder.image_of(clip, name, index) for name in encoder.cameras]
        return [
            seen_view(stream.name, stream.read(number), points, project_sweep(clip, stream, index, number, points))
            for stream, number in chosen
        ]

    return Frame(
        clip.clip_id,
        f"{clip.clip_id}_{clip.frame_ids[index]}".replace("/", "_"),
        images=lambda: encoder.images(clip, index),
        rays=rays,
        recorded=lambda: generator.recorded(clip.range_map(index)),
        views=views,
        image_rule=encoder.rule_of(clip),
        image_numbers=lambda: [encoder.image_of(clip, name, index)[1] for name in encoder.cameras],
    )


def frame_of_files(files: Sequence[Path], rig_file: Path | None, generator: LidarGenerator) -> Frame:
    """Return the frame of images in files.

    Args:
        files: images (or videos, of which the first image is taken), in the order of the views.
        rig_file: their cameras, in the same order; None leaves out the overlays, and does for networks without rays.
        generator: what they are for.

    Raises:
        DataError: a file cannot be read, has another shape than its camera, or the rig has another number of cameras.
        UserError: a network of rays, and no calibration.
    """
    rig = load_rig(rig_file) if rig_file else []
    if generator.wants_rays and not rig:
        raise UserError("this checkpoint is ray-conditioned: camera calibration is required, --calibration rig.yaml")
    if rig and len(rig) != len(files):
        raise DataError(f"{len(rig)} cameras for {len(files)} images", file=rig_file, wanted="one for each image")
    images = [_first_image(file) for file in files]
    size = generator.image_size
    for file, image, camera in zip(files, images, rig, strict=False):
        _expect_same_shape(file, image, camera)

    def rays() -> np.ndarray | None:
        if not rig:
            return None
        lidar_step, image_step = (
            space.network.config.spatial_compression for space in (generator.lidar, generator.image)
        )
        return canvas_rays(rig, generator.sensor, generator.denoiser.layout, size, (lidar_step, image_step))

    def views(points: np.ndarray) -> list[SeenView]:
        seen = []
        for camera, image in zip(rig, images, strict=False):
            camera_SE3_lidar = np.linalg.inv(camera.lidar_SE3_camera)
            placed = project_to_image(points @ camera_SE3_lidar[:3, :3].T + camera_SE3_lidar[:3, 3], camera.model)
            seen.append(seen_view(camera.name, image, points, placed))
        return seen

    return Frame("", "sample", lambda: torch.cat([fit_image(p, size) for p in images]), rays, None, views)


def seen_view(name: str, image: np.ndarray, points: np.ndarray, placed: InImage) -> SeenView:
    """Return an image with the points that the camera sees."""
    shown = points[placed.visible]
    return SeenView(name, image, placed.uv[placed.visible], shown[:, 2], np.linalg.norm(shown, axis=1))


def _first_image(file: Path) -> np.ndarray:
    from cosmos_lidar.clips.footage import open_footage

    block = next(iter(open_footage(file).blocks()), None)
    if block is None or not len(block):
        raise DataError("no image", file=file, wanted="an image or a video")
    return block[0]


def _expect_same_shape(file: Path, image: np.ndarray, camera: MountedCamera) -> None:
    if image.shape[:2] != (camera.model.height, camera.model.width):
        found = f"an image of {image.shape[1]} x {image.shape[0]}"
        wanted = f"{camera.model.width} x {camera.model.height}, as in the calibration of camera {camera.name}"
        raise DataError(found, file=file, wanted=wanted)
