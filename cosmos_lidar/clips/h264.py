"""H.264 streams whose bytes are a function of the images: the same in every process and with any number of cores."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

_TICKS_PER_S = 90_000  # of the times of videos whose frames are not shown equally long
# x264 weighs macroblocks by later ones (mbtree) with values that nothing has written at the borders of some sizes, and
# both its frame threads and its choice of routines change the bytes: the first two are off, the last is fixed.
_REPEATABLE = "mbtree=0:threads=1:lookahead-threads=1:sliced-threads=0:cpu-independent=1"


def add_h264(
    container: Any,
    size: tuple[int, int],
    rate_hz: float,
    crf: int,
    preset: str,
    *,
    timed: bool = False,
    key_every: int = 0,
) -> Any:
    """Add an H.264 stream (yuv420p, plays anywhere) to a container of PyAV that is open for writing.

    Args:
        container: mp4.
        size: even height and width, pixels.
        rate_hz: frames per second.
        crf: quality, 0 (lossless) to 51.
        preset: of x264, such as ``veryfast``.
        timed: every image comes with its time, as they are not shown equally long.
        key_every: most frames from one key frame to the next, so that reading may begin anywhere; 0: as x264 has it.

    Returns:
        The stream, for :func:`put_image`; its ``encode`` without an image gives the last packets.
    """
    stream = container.add_stream("libx264", rate=Fraction(rate_hz).limit_denominator(1001))
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    stream.thread_count = 1
    keys = f":keyint={key_every}" if key_every else ""
    stream.options = {"crf": str(crf), "preset": preset, "x264-params": _REPEATABLE + keys}
    if timed:
        stream.codec_context.time_base = Fraction(1, _TICKS_PER_S)
    return stream


def put_image(container: Any, stream: Any, image: np.ndarray, time_s: float | None = None) -> None:
    """Encode an image into a container.

    Args:
        container: of the stream.
        stream: of :func:`add_h264`.
        image: (H, W, 3) uint8 RGB, of the stream's size.
        time_s: when it is shown, in a stream that is timed.
    """
    import av

    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    if time_s is not None:
        frame.pts, frame.time_base = round(time_s * _TICKS_PER_S), Fraction(1, _TICKS_PER_S)
    container.mux(stream.encode(frame))
