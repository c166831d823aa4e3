"""Reading and writing of videos with PyAV; needs no ffmpeg executable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from cosmos_lidar.clips.h264 import add_h264
from cosmos_lidar.clips.video import open_video
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import atomic_write
from cosmos_lidar.viz.pictures import to_uint8


def write_video(path: str | Path, frames: Iterable[np.ndarray], fps: float = 10.0, crf: int = 18) -> int:
    """Write an H.264 MP4 file (yuv420p) atomically and return the number of frames.

    Frames are taken one at a time, so a generator needs memory for one. Odd sizes are padded by repeating the last
    row or column, as the format requires even ones. Missing folders are made.

    Args:
        path: file to write.
        frames: (H, W, 3) images of one size, uint8 or floats in [0, 1].
        fps: frames per second.
        crf: quality, 0 (lossless) to 51; 18 is visually clean.

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
            return _encode(container, chain([first], frames), to_uint8(first).shape, fps, crf)


def _encode(container: object, frames: Iterable[np.ndarray], shape: tuple[int, ...], fps: float, crf: int) -> int:
    import av

    height, width = (side + side % 2 for side in shape[:2])
    stream = add_h264(container, (height, width), fps, crf, "fast")
    count = 0
    for image in frames:
        image = to_uint8(image)
        if image.shape != shape:
            raise UserError(f"frame {count} has the shape {image.shape}, the first one {shape}")
        padded = np.pad(image, ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0)), mode="edge")
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")))
        count += 1
    container.mux(stream.encode())
    return count


def read_video(path: str | Path) -> Iterator[np.ndarray]:
    """Yield the frames of a video, (H, W, 3) uint8, one after the other.

    Raises:
        DataError: the file is missing, or is not a video.
    """
    import av

    try:
        with open_video(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, OSError, IndexError) as error:
        raise DataError(f"cannot be read: {error}", file=path, wanted="a video file") from error
