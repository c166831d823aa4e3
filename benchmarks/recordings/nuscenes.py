"""A nuScenes scene of HDL-32E sweeps, axes x right, y forward, z up, with ring, and an image of a camera."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cosmos_lidar.clips import Clip
from recordings.street import Read, Street, decode_jpeg, plain_reads, write_bytes
from tests.clips.readers.test_nuscenes import lidar_file, tables


def write(root: Path, street: Street) -> Path:
    """Write tables, sweeps and one image of 1600 x 900."""
    tables(root, street.frames)
    for index, cloud in enumerate(street.clouds(street.sensor("nuscenes_hdl32e"))):
        x, y, z = cloud.points.T
        values = np.column_stack([-y, x, z, np.rint(cloud.intensity * 255), cloud.ring]).astype("<f4")
        values.tofile(root / lidar_file(index))
    (image,) = (root / "samples" / "CAM_FRONT").iterdir()
    write_bytes(image, street.jpeg(1600, 900))
    return root


def reads(clip: Clip) -> list[Read]:
    """Return the sweeps, and the image beside Pillow."""
    (camera,) = clip.cameras.values()
    content = camera.read.files[0].read_bytes()
    return [*plain_reads(clip), Read("image", camera.read, 1, lambda index: decode_jpeg(content), "JPEG")]
