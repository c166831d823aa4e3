"""Range maps and the images taken with them as latents on one canvas, for camera-to-lidar diffusion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.families.lidargen.views import FrameViews, lidar_image
from cosmos_lidar.latents.space import LatentSpace
from cosmos_lidar.sensors import restore_range_map
from cosmos_lidar.sensors.sensor import RangeMapFormat


@dataclass(frozen=True, kw_only=True)
class FrameEncoder(FrameViews):
    """Makes canvases of the frames of clips.

    Attributes:
        lidar: latent space of range maps; its compression is ``lidar_step``.
        image: latent space of images; its compression is ``image_step``.
    """

    lidar: LatentSpace
    image: LatentSpace

    def __post_init__(self) -> None:
        """Take the sizes of latents from the networks."""
        super().__post_init__()
        object.__setattr__(self, "lidar_step", self.lidar.network.config.spatial_compression)
        object.__setattr__(self, "image_step", self.image.network.config.spatial_compression)

    def __call__(self, clip: Clip, index: int, mirrored: bool = False) -> Tensor:
        """Return the canvas (C, 1 + views, H, W) float32 of one frame.

        Args:
            clip: with cameras.
            index: number of the frame.
            mirrored: of the frame as a mirror shows it; its rays are those of :meth:`rays` mirrored, too.

        Raises:
            DataError: a camera is not there, or has no image of the sweep.
        """
        images, lidar = self.images(clip, index), lidar_image(clip, index, self.lidar_step)
        if mirrored:
            images, lidar = images.flip(-1), lidar.flip(-1)
        return self.layout(clip.sensor).place(self.lidar.encode(lidar), self.image.encode(images)[None])[0]


def restore_ranges(image: Tensor, format: RangeMapFormat, near_m: float = 1.5, far_m: float = 10.0) -> np.ndarray:
    """Return (rows, columns) meters of a decoded image (3, H, W); 0 within the published margins of the limits."""
    return restore_range_map(image.numpy(), format, near_m=near_m, far_m=far_m)
