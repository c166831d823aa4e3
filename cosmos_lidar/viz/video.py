"""Reading and writing of videos with PyAV; needs no ffmpeg executable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.h264 import add_h264, put_image
from cosmos_lidar.clips.video import VideoFile
from cosmos_lidar.errors import UserError
from cosmos_lidar.files import atomic_write
from cosmos_lidar.viz.images import to_uint8


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    fps: float = 10.0,
    crf: int = 18,
    times_s: Sequence[float] | None = None,
) -> int:
    """Write an H.264 MP4 file (yuv420p) atomically and return the number of frames.

    Frames are taken one at a time, so a generator needs memory for one. Odd sizes are padded by repeating the last
    row or column, as the format requires even ones. Missing folders are made.

    Args:
        path: file to write.
        frames: (H, W, 3) images of one size, uint8 or floats in [0, 1].
        fps: frames per second.
        crf: quality, 0 (lossless) to 51; 18 is visually clean.
        times_s: when each frame is shown, from 0 on, where they are not shown equally long.

    Raises:
        UserError: there are no frames, or one has another size.
    """
    import av

    path, frames = Path(path), iter(frames)
    first = next(frames, None)
    if first is None:
        raise UserError(f"no frames for {path}")
    with atomic_write(path) as partial:
        with av.open(str(partial), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            return _encode(container, chain([first], frames), to_uint8(first).shape, fps, crf, times_s)


def _encode(
    container: object,
    frames: Iterable[np.ndarray],
    shape: tuple[int, ...],
    fps: float,
    crf: int,
    times_s: Sequence[float] | None,
) -> int:
    height, width = (side + side % 2 for side in shape[:2])
    stream = add_h264(container, (height, width), fps, crf, "fast", timed=times_s is not None)
    count = 0
    for image in frames:
        image = to_uint8(image)
        if image.shape != shape:
            raise UserError(f"frame {count} has the shape {image.shape}, the first one {shape}")
        padded = np.pad(image, ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0)), mode="edge")
        put_image(container, stream, padded, None if times_s is None else times_s[count])
        count += 1
    container.mux(stream.encode())
    return count


def read_video(path: str | Path) -> Iterator[np.ndarray]:
    """Yield the frames of a video, (H, W, 3) uint8, one after the other.

    Raises:
        DataError: the file is missing, or is not a video.
    """
    video = VideoFile(Path(path))
    for index in range(len(video)):
        yield video(index)
