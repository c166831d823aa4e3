"""Range maps and the pictures taken with them as latents on one canvas, for camera-to-lidar diffusion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cosmos_lidar.clips.camera_pose import camera_in_sweep
from cosmos_lidar.clips.clip import CameraStream, Clip
from cosmos_lidar.clips.rig import MountedCamera
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.inference.lidargen_rays import camera_rays, lidar_rays, place_rays
from cosmos_lidar.models.lidargen.canvas import CanvasLayout
from cosmos_lidar.models.tokenizer import load_mean_std
from cosmos_lidar.models.tokenizer.video_config import VideoTokenizerConfig
from cosmos_lidar.sensors import prepare_range_map, restore_range_map
from cosmos_lidar.sensors.sensor import RangeMapFormat


@dataclass(frozen=True)
class LatentSpace:
    """A tokenizer and how its latents are normalised.

    Attributes:
        network: continuous, CI or CV; in evaluation, on the device that it computes on.
        mean: (C,) float32.
        std: (C,) float32.
    """

    network: nn.Module
    mean: Tensor
    std: Tensor

    @torch.inference_mode()
    def encode(self, pictures: Tensor) -> Tensor:
        """Return normalised latents (B, C, h, w) float32 of pictures (B, 3, H, W) in [-1, 1], each by itself."""
        first = next(self.network.parameters())
        x = pictures.to(first.device, first.dtype)
        video = isinstance(self.network.config, VideoTokenizerConfig)
        z = self.network.encode(x[:, :, None])[:, :, 0] if video else self.network.encode(x)
        return ((z.float().cpu() - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1)).clone()

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> Tensor:
        """Return pictures (B, 3, H, W) float32 of normalised latents (B, C, h, w)."""
        first = next(self.network.parameters())
        z = (latents.float() * self.std.view(-1, 1, 1) + self.mean.view(-1, 1, 1)).to(first.device, first.dtype)
        video = isinstance(self.network.config, VideoTokenizerConfig)
        made = self.network.decode(z[:, :, None])[:, :, 0] if video else self.network.decode(z)
        return made.float().cpu()


def open_space(network: nn.Module, mean_std: Path | None) -> LatentSpace:
    """Return the latent space of a tokenizer; without a file of means, latents are taken as they are.

    Raises:
        UserError: a discrete tokenizer.
        DataError: no such file, or not a pair of means and deviations.
    """
    if network.config.family.startswith("D"):
        raise UserError(f"a {network.config.family} tokenizer gives indices: camera-to-lidar diffusion wants CI or CV")
    if mean_std is None:
        channels = network.config.latent_channels
        return LatentSpace(network.eval(), torch.zeros(channels), torch.ones(channels))
    return LatentSpace(network.eval(), *load_mean_std(mean_std))


@dataclass(frozen=True)
class FrameEncoder:
    """Makes canvases of the frames of clips.

    Attributes:
        lidar: latent space of range maps.
        image: latent space of pictures.
        cameras: names, in the order of the slots.
        image_size: (height, width) that pictures are scaled and cut to.
        tolerance_s: how far a picture may be from the middle of the sweep.
    """

    lidar: LatentSpace
    image: LatentSpace
    cameras: tuple[str, ...]
    image_size: tuple[int, int] = (704, 1280)
    tolerance_s: float = 0.06

    def layout(self, format: RangeMapFormat, rows: int, columns: int) -> CanvasLayout:
        """Return the canvas of range maps of ``rows`` x ``columns``."""
        step, picture = (space.network.config.spatial_compression for space in (self.lidar, self.image))
        width = cut_columns(format, columns // format.pair_columns, step)
        size = (self.image_size[0] // picture, self.image_size[1] // picture)
        return CanvasLayout((rows * format.repeat_rows // step, width // step), size, len(self.cameras))

    def __call__(self, clip: Clip, index: int) -> Tensor:
        """Return the canvas (C, 1 + views, H, W) float32 of one frame.

        Raises:
            DataError: a camera is not there, or has no picture near enough in time.
        """
        pictures = self.pictures(clip, index)
        lidar = self.lidar.encode(lidar_picture(clip, index, self.lidar.network.config.spatial_compression))
        images = self.image.encode(pictures)[None]
        return self.layout(clip.sensor.format, *clip.sensor.shape).place(lidar, images)[0]

    def pictures(self, clip: Clip, index: int) -> Tensor:
        """Return the pictures (views, 3, H, W) in [-1, 1] that are nearest to the middle of a sweep.

        Raises:
            DataError: a camera is not there, or has no picture near enough in time.
        """
        chosen = [self.nearest(clip, name, index) for name in self.cameras]
        return torch.cat([fit_picture(stream.read(number), self.image_size) for stream, number in chosen])

    def rays(self, clip: Clip, index: int) -> np.ndarray | None:
        """Return the rays (1 + views, rows, columns, 6) float32 of the tokens of a frame's canvas.

        None where a camera has no lens, or no place on the car.

        Raises:
            DataError: a camera is not there, or has no picture near enough in time.
        """
        rig = self.rig(clip, index)
        if rig is None:
            return None
        lidar_step, image_step = (space.network.config.spatial_compression for space in (self.lidar, self.image))
        layout = self.layout(clip.sensor.format, *clip.sensor.shape)
        merged = clip.sensor.columns // clip.sensor.format.pair_columns
        first = (merged - layout.lidar[1] * lidar_step) // 2
        lidar = lidar_rays(clip.sensor, first, layout.lidar, lidar_step)
        images = [camera_rays(one.model, one.lidar_SE3_camera, self.image_size, 2 * image_step) for one in rig]
        return place_rays(lidar, images, layout)

    def rig(self, clip: Clip, index: int) -> list[MountedCamera] | None:
        """Return the cameras as they took the pictures of a frame, in the axes of the lidar in mid-sweep.

        None where a camera has no lens, or no place on the car.

        Raises:
            DataError: a camera is not there, or has no picture near enough in time.
        """
        chosen = [self.nearest(clip, name, index) for name in self.cameras]
        for stream, _ in chosen:
            if stream.model is None or (stream.lidar_SE3_camera is None and stream.world_SE3_camera is None):
                return None
        return [
            MountedCamera(stream.name, stream.model, camera_in_sweep(clip, stream, index, number))
            for stream, number in chosen
        ]

    def nearest(self, clip: Clip, name: str, index: int) -> tuple[CameraStream, int]:
        """Return a camera, and which of its pictures is nearest to the middle of a sweep.

        Raises:
            DataError: the camera is not there, or has no picture near enough in time.
        """
        stream = clip.cameras.get(name)
        if stream is None:
            found = ", ".join(clip.cameras) or "none"
            raise DataError(f"no camera {name}", file=clip.source, clip=clip.clip_id, wanted=f"one of: {found}")
        middle_us = float(clip.timestamps_us[index].mean())
        gaps_s = np.abs(stream.timestamps_us - middle_us) / 1e6
        if not len(gaps_s) or gaps_s.min() > self.tolerance_s:
            nearest = f"{gaps_s.min():.3f} s away" if len(gaps_s) else "no picture at all"
            raise DataError(
                f"camera {stream.name}: nearest picture {nearest}", file=clip.source, clip=clip.clip_id,
                key=f"frame {clip.frame_ids[index]}", wanted=f"at most {self.tolerance_s:g} s (--tolerance)",
            )  # fmt: skip
        return stream, int(gaps_s.argmin())


def cut_columns(format: RangeMapFormat, merged: int, step: int) -> int:
    """Return the columns of the centre crop: the format's where maps are that wide, else all that fill latents."""
    width = format.crop_columns if 0 < format.crop_columns <= merged else merged
    return width // step * step


def lidar_picture(clip: Clip, index: int, step: int) -> Tensor:
    """Return the picture (1, 3, H, W) in [-1, 1] of a range map, cut in the middle."""
    picture = torch.from_numpy(prepare_range_map(clip.range_map(index), clip.sensor.format))
    width = cut_columns(clip.sensor.format, picture.shape[-1], step)
    start = (picture.shape[-1] - width) // 2
    return picture[None, ..., start : start + width]


def restore_ranges(picture: Tensor, format: RangeMapFormat, near_m: float = 1.5, far_m: float = 10.0) -> np.ndarray:
    """Return (rows, columns) metres of a decoded picture (3, H, W); 0 within the published margins of the limits."""
    return restore_range_map(picture.numpy(), format, near_m=near_m, far_m=far_m)


def fit_picture(picture: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Return (1, 3, H, W) in [-1, 1]: scaled to cover ``size`` (bilinear, antialiased), cut in the middle.

    A picture of 1080 x 1920 becomes 720 x 1280 and is cut to 704 x 1280, as published.
    """
    x = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255.0
    scale = max(size[0] / x.shape[2], size[1] / x.shape[3])
    covering = tuple(max(round(side * scale), least) for side, least in zip(x.shape[2:], size, strict=True))
    x = nn.functional.interpolate(x, size=covering, mode="bilinear", antialias=True)
    top, left = ((have - want) // 2 for have, want in zip(covering, size, strict=True))
    return (x[..., top : top + size[0], left : left + size[1]] - 0.5) / 0.5
