"""Image and video files as blocks of frames; one block is in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.images import read_image
from cosmos_lidar.clips.video import VideoFile, are_regular
from cosmos_lidar.errors import DataError

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_BLOCK = 8


@dataclass(frozen=True)
class Footage:
    """A file of images.

    Attributes:
        path: of the file.
        fps: frames per second; 0 for a single image.
        frames: number of them.
        short_size: the short side is scaled to this; 0 keeps the size.
        times_s: when each frame is shown, of videos whose frames are not shown equally long; else None.
    """

    path: Path
    fps: float
    frames: int
    short_size: int = 0
    times_s: tuple[float, ...] | None = None

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield (t, H, W, 3) uint8 RGB.

        Raises:
            DataError: the file is damaged.
        """
        if not self.fps and self.path.suffix.lower() in IMAGES:
            yield scaled(read_image(self.path)[None], self.short_size)
            return
        video = VideoFile(self.path)
        for start in range(0, self.frames, _BLOCK):
            block = np.stack([video(index) for index in range(start, min(start + _BLOCK, self.frames))])
            yield scaled(block, self.short_size)


def open_footage(path: Path, short_size: int = 0) -> Footage:
    """Look at a file.

    Raises:
        DataError: neither an image nor a video, or nothing in it.
    """
    if path.suffix.lower() in IMAGES:
        read_image(path)
        return Footage(path, 0.0, 1, short_size)
    times_s = VideoFile(path).times_s()
    if not len(times_s):
        raise DataError("no frames in it", file=path, wanted="a video")
    span_s = float(times_s[-1] - times_s[0])
    fps = (len(times_s) - 1) / span_s if span_s > 0 else 24.0
    times = None if are_regular(times_s) else tuple((times_s - times_s[0]).round(6).tolist())
    return Footage(path, fps, len(times_s), short_size, times)


def scaled(frames: np.ndarray, short_size: int) -> np.ndarray:
    """Return (T, H, W, 3) with the short side ``short_size``, the long one in proportion, rounded up to even."""
    from PIL import Image

    height, width = frames.shape[1:3]
    short = min(height, width)
    if not short_size or short == short_size:
        return frames
    long = int(max(height, width) * short_size / short + 0.5)
    long += long % 2
    size = (long, short_size) if width >= height else (short_size, long)
    return np.stack([np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.LANCZOS)) for frame in frames])
