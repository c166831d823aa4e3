"""Files of pictures and videos, as blocks of frames; one block is in memory at a time."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.video import VideoFile
from cosmos_lidar.errors import DataError
from cosmos_lidar.families.video_tokenizer.latent_files import SUFFIX
from cosmos_lidar.shards.videos import SUFFIXES as VIDEOS
from cosmos_lidar.viz.pictures import write_png
from cosmos_lidar.viz.video import write_video

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
_BLOCK = 8


@dataclass(frozen=True)
class Footage:
    """A file of pictures.

    Attributes:
        path: of the file.
        fps: frames per second; 0 for a single picture.
        frames: number of them.
        short_size: the short side is scaled to this; 0 keeps the size.
    """

    path: Path
    fps: float
    frames: int
    short_size: int = 0

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield (t, H, W, 3) uint8 RGB.

        Raises:
            DataError: the file is damaged.
        """
        if not self.fps and self.path.suffix.lower() in PICTURES:
            yield scaled(_read_picture(self.path)[None], self.short_size)
            return
        video = VideoFile(self.path)
        for start in range(0, self.frames, _BLOCK):
            block = np.stack([video(index) for index in range(start, min(start + _BLOCK, self.frames))])
            yield scaled(block, self.short_size)


def open_footage(path: Path, short_size: int = 0) -> Footage:
    """Look at a file.

    Raises:
        DataError: neither a picture nor a video, or nothing in it.
    """
    if path.suffix.lower() in PICTURES:
        _read_picture(path)
        return Footage(path, 0.0, 1, short_size)
    times_s = VideoFile(path).times_s()
    if not len(times_s):
        raise DataError("no frames in it", file=path, wanted="a video")
    span_s = float(times_s[-1] - times_s[0])
    return Footage(path, (len(times_s) - 1) / span_s if span_s > 0 else 24.0, len(times_s), short_size)


def find_inputs(patterns: Sequence[str]) -> list[Path]:
    """Return the files that paths, folders (searched through) and patterns such as ``videos/*.mp4`` name, in order.

    Raises:
        DataError: a pattern names nothing that can be used.
    """
    known = (*VIDEOS, *PICTURES, SUFFIX)
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            files = [file for file in sorted(path.rglob("*")) if file.suffix.lower() in known]
        else:
            files = [path] if path.is_file() else [Path(name) for name in sorted(glob.glob(pattern, recursive=True))]
        if not files:
            wanted = f"files ending in {', '.join(known)}"
            raise DataError("no pictures, videos or latents", file=pattern, wanted=wanted)
        found |= dict.fromkeys(files)
    return list(found)


def output_names(files: Sequence[Path]) -> list[str]:
    """Return a name for the results of each file: its own, with as many folders as make all of them differ."""
    for depth in range(1, max(len(file.parts) for file in files) + 1):
        names = ["_".join(file.with_suffix("").parts[-depth:]).strip("/") for file in files]
        if len(set(names)) == len(names):
            return names
    return [f"{name}_{number:04d}" for number, name in enumerate(names)]


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


def write_frames(path: Path, blocks: Iterable[np.ndarray], fps: float) -> int:
    """Write a video, or where ``fps`` is 0 its only frame as PNG; returns the number of frames."""
    frames = (frame for block in blocks for frame in block)
    if fps:
        return write_video(path, frames, fps)
    write_png(path, next(frames))
    return 1


def _read_picture(path: Path) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return np.array(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError, ValueError) as error:
        raise DataError(f"not a readable picture: {error}", file=path, wanted="a complete jpg or png") from error
