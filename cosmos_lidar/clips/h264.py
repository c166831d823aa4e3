"""H.264 streams whose bytes are a function of the images: the same in every process and with any number of cores."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

# x264 weighs macroblocks by later ones (mbtree) with values that nothing has written at the borders of some sizes, and
# both its frame threads and its choice of routines change the bytes: the first two are off, the last is fixed.
_REPEATABLE = "mbtree=0:threads=1:lookahead-threads=1:sliced-threads=0:cpu-independent=1"


def add_h264(container: Any, size: tuple[int, int], rate_hz: float, crf: int, preset: str) -> Any:
    """Add an H.264 stream (yuv420p, plays anywhere) to a container of PyAV that is open for writing.

    Args:
        container: mp4.
        size: even height and width, pixels.
        rate_hz: frames per second.
        crf: quality, 0 (lossless) to 51.
        preset: of x264, such as ``veryfast``.

    Returns:
        The stream; its ``encode`` gives packets to mux.
    """
    stream = container.add_stream("libx264", rate=Fraction(rate_hz).limit_denominator(1001))
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    stream.thread_count = 1
    stream.options = {"crf": str(crf), "preset": preset, "x264-params": _REPEATABLE}
    return stream
