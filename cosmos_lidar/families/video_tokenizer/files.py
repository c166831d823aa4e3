"""Input files of the codec found by pattern, names for its outputs, frames written as video or image."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.footage import IMAGES
from cosmos_lidar.errors import DataError
from cosmos_lidar.families.video_tokenizer.latent_files import SUFFIX
from cosmos_lidar.files import visible_files
from cosmos_lidar.shards.videos import SUFFIXES as VIDEOS
from cosmos_lidar.viz.images import write_png
from cosmos_lidar.viz.video import write_video


def find_inputs(patterns: Sequence[str]) -> list[Path]:
    """Return the files that paths, folders (searched through) and patterns such as ``videos/*.mp4`` name, in order.

    Raises:
        DataError: a pattern names nothing that can be used.
    """
    known = (*VIDEOS, *IMAGES, SUFFIX)
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        if path.is_dir():
            files = [file for file in visible_files(path, "**/*") if file.suffix.lower() in known]
        else:
            files = (
                [path]
                if path.is_file()
                else [file for name in sorted(glob.glob(pattern, recursive=True)) if (file := Path(name)).is_file()]
            )
        if not files:
            wanted = f"files ending in {', '.join(known)}"
            raise DataError("no images, videos or latents", file=pattern, wanted=wanted)
        found |= dict.fromkeys(files)
    return list(found)


def output_names(files: Sequence[Path]) -> list[str]:
    """Return a name for the results of each file: its own, with as many folders as make all of them differ."""
    for depth in range(1, max(len(file.parts) for file in files) + 1):
        names = ["_".join(file.with_suffix("").parts[-depth:]).strip("/") for file in files]
        if len(set(names)) == len(names):
            return names
    return [f"{name}_{number:04d}" for number, name in enumerate(names)]


def write_frames(path: Path, blocks: Iterable[np.ndarray], fps: float, times_s: Sequence[float] | None = None) -> int:
    """Write a video, or where ``fps`` is 0 its only frame as PNG; returns the number of frames.

    Args:
        path: file to write.
        blocks: (t, H, W, 3) frames.
        fps: frames per second; 0 for a single image.
        times_s: when each frame is shown, where they are not shown equally long.
    """
    frames = (frame for block in blocks for frame in block)
    if fps:
        return write_video(path, frames, fps, times_s=times_s)
    write_png(path, next(frames))
    return 1
