"""Rays of image tokens: where each patch of a camera image looks, from lens and mounting."""

from __future__ import annotations

import numpy as np

from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.ftheta import FThetaCamera
from cosmos_lidar.sensors.pinhole import PinholeCamera


def camera_rays(
    model: PinholeCamera | FThetaCamera,
    frame_SE3_camera: np.ndarray,
    image_size: tuple[int, int],
    token_px: int,
) -> np.ndarray:
    """Return (rows, columns, 6) of the tokens of an image that was scaled to cover ``image_size`` and cut to it.

    A ray is the origin, meters, and the unit vector that the middle of the token looks along.

    Args:
        model: lens of the image as it was taken.
        frame_SE3_camera: (4, 4), the camera in the axes that rays are given in, such as those of a lidar or a vehicle.
        image_size: (height, width) of the cut image.
        token_px: pixels of a token.

    Raises:
        DataError: a lens without a ray for some tokens.
    """
    height, width = image_size
    scale = max(height / model.height, width / model.width)
    covering = tuple(max(round(side * scale), least) for side, least in ((model.height, height), (model.width, width)))
    top, left = (covering[0] - height) // 2, (covering[1] - width) // 2
    rows, columns = (-(-side // token_px) for side in (height, width))
    v = (np.arange(rows) + 0.5) * token_px + top
    u = (np.arange(columns) + 0.5) * token_px + left
    pixels = np.stack(np.meshgrid(u * model.width / covering[1] - 0.5, v * model.height / covering[0] - 0.5), -1)
    directions = model.unproject(pixels) @ frame_SE3_camera[:3, :3].T
    if not np.isfinite(directions).all():
        raise DataError(f"{model} has no ray for some pixels", wanted="a lens that sees its whole image")
    origin = np.broadcast_to(frame_SE3_camera[:3, 3], directions.shape)
    return np.concatenate([origin, directions], axis=-1).astype(np.float32)
