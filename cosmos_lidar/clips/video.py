"""Images of a video file by number, and a writer of such files (PyAV; no ffmpeg program is needed)."""

from __future__ import annotations

import io
import struct
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.bounds import expect_plain_file, expect_size, largest_item
from cosmos_lidar.clips.h264 import add_h264, put_image
from cosmos_lidar.clips.spans import FileSpan
from cosmos_lidar.errors import DataError

_KEPT, _SKIPPED = 8, 16
_WITHOUT_TIMES = ("avi", "h264", "hevc", "m4v", "mpegvideo", "vc1")  # containers that store no time of showing
_MOST_PIXELS = 2**31 - 1  # of an image, that the decoder takes as a limit
# The demuxers of FFmpeg for mp4, mov, mkv, webm, avi and streams of one; none of them opens a second file.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,h264,hevc,ivf,gif,flv,asf,ogg"


def open_video(source: str | io.BytesIO | io.BufferedReader) -> Any:
    """Open a video file for reading: a container of images, whatever its name.

    FFmpeg goes by the content, and some of its formats are lists (HLS, concat) of other files and addresses, which it
    would open.

    Raises:
        OSError: it cannot be read, or is of another kind (``av`` derives its errors from this or from ValueError).
    """
    import av

    return av.open(source, options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file,pipe"})


class VideoFile:
    """``read`` of a camera whose images are the frames of a video file; any order, fastest forwards.

    Images are those that a player shows: turned as the file states. The file is opened at the first read, once per
    process; the last few decoded images are kept. Files without the times of their frames (AVI, with B-frames) are
    decoded from their start and their frames counted.

    Args:
        path: the video; only its name, for messages, where ``content`` is given.
        clip_id: for messages.
        content: what would be in the file.
        span: the part of a file that is the video, such as a member of a zip.
    """

    def __init__(
        self,
        path: Path,
        clip_id: str | None = None,
        content: bytes | None = None,
        span: FileSpan | None = None,
    ) -> None:
        self.path, self.clip_id, self.content, self.span = path, clip_id, content, span
        self._forget()

    def _forget(self) -> None:
        self._container: Any = None
        self._decoder: Any = None
        self._times: np.ndarray | None = None
        self._counted = False
        self._size: tuple[int, int] | None = None
        self._next = 0
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()

    def __getstate__(self) -> dict:
        """Leave the open file behind when this goes to another process."""
        return {"path": self.path, "clip_id": self.clip_id, "content": self.content, "span": self.span}

    def __setstate__(self, state: dict) -> None:
        VideoFile.__init__(self, **state)

    def __len__(self) -> int:
        return len(self._open())

    def __call__(self, index: int) -> np.ndarray:
        """Return image ``index`` as (H, W, 3) uint8 RGB.

        Raises:
            DataError: no such image, it cannot be decoded, or it is not of the size of the first one.
        """
        times = self._open()
        if not 0 <= index < len(times):
            raise DataError(
                f"image {index} of {len(times)}", file=self.path, clip=self.clip_id, wanted="a longer video"
            )
        if index not in self._kept:
            self._decode(index)
        return self._kept[index]

    def times_s(self) -> np.ndarray:
        """Return (M,) when each image is shown, seconds.

        Raises:
            DataError: the file cannot be read.
        """
        times = self._open()
        return times * float(self._unit_s)

    def check(self) -> None:
        """Decode all of it.

        Raises:
            DataError: an image cannot be read.
        """
        for index in range(len(self)):
            self(index)

    def _source(self) -> str | io.BytesIO | io.BufferedReader:
        if self.span is not None:
            return self.span.open(self.clip_id)
        if self.content is None:
            expect_plain_file(self.path, self.clip_id)
        return str(self.path) if self.content is None else io.BytesIO(self.content)

    def _open(self) -> np.ndarray:
        """Return (M,) presentation times in stream units; they are read from the packets, nothing is decoded."""
        times = self._times
        if times is not None:
            return times
        try:
            with open_video(self._source()) as container:
                if not container.streams.video:
                    raise self._broken("no video stream in it")
                stream = container.streams.video[0]
                context = stream.codec_context
                if context is None:
                    raise self._broken("no decoder for its codec")
                size = context.width, context.height
                expect_size(
                    3 * size[0] * size[1], f"images of {size[0]} x {size[1]}", file=self.path, clip=self.clip_id
                )
                packets = [(p.pts, p.size) for p in container.demux(stream) if not p.is_discard]
                shown = [pts for pts, size in packets if pts is not None]
                unknown = sum(pts is None and size > 0 for pts, size in packets)
                untold = container.format.name in _WITHOUT_TIMES and context.has_b_frames
                self._counted = bool(untold or unknown or len(set(shown)) < len(shown))
                self._unit_s = stream.time_base
                if self._counted:
                    self._unit_s = 1 / (stream.average_rate or stream.guessed_rate or 25)
                    shown = list(range(len(shown) + unknown))
                times = self._times = np.sort(np.array(shown, np.int64))
        except DataError:
            raise
        except Exception as error:  # FFmpeg's errors are of a dozen kinds
            raise self._broken(error) from error
        return times

    def _decode(self, index: int) -> None:
        """Decode until image ``index``, from the key frame before it unless it lies just ahead."""
        try:
            self._decode_until(index)
            if index not in self._kept and not self._counted:
                self._count_frames()
                self._decode_until(index)
        except DataError:
            raise
        except Exception as error:  # FFmpeg's errors are of a dozen kinds
            raise self._broken(error) from error
        if index not in self._kept:
            raise self._broken(f"image {index} is announced and not decodable")

    def _count_frames(self) -> None:
        """Go on without the presentation times, which are not those that the decoder gives."""
        self._counted, self._decoder = True, None
        self._kept.clear()

    def _decode_until(self, index: int) -> None:
        ahead = index - self._next
        if self._decoder is None or ahead < 0 or (ahead >= _SKIPPED and not self._counted):
            self._seek(index)
        for frame in self._decoder:
            at = self._next if self._counted else self._place(frame.pts)
            if at is None:
                return
            self._next = at + 1
            if at >= index - _KEPT:
                self._keep(at, frame)
            if at >= index:
                return
        self._decoder = None

    def _place(self, pts: int | None) -> int | None:
        """Return the number of the frame shown at this time; None where the container has no such frame."""
        times = self._open()
        at = len(times) if pts is None else int(np.searchsorted(times, pts))
        return at if at < len(times) and times[at] == pts else None

    def _seek(self, index: int) -> None:
        if self._container is None or self._counted:
            self._container = open_video(self._source())
            stream = self._container.streams.video[0]
            stream.thread_count = 1
            stream.codec_context.options = {
                "max_pixels": str(min(largest_item() // 3, _MOST_PIXELS))
            }  # images may grow on the way
        stream = self._container.streams.video[0]
        if self._counted:
            self._next = 0
        else:
            self._container.seek(int(self._open()[index]), stream=stream, backward=True)
        self._decoder = self._container.decode(stream)

    def _keep(self, index: int, frame: Any) -> None:
        if self._size is None:
            self._size = self._first_size(index, frame)
        if (frame.width, frame.height) != self._size:
            both = f"image {index} is {frame.width} x {frame.height}, the first {self._size[0]} x {self._size[1]}"
            raise self._broken(both, "a video of images of one size")
        self._kept[index] = _as_shown(frame)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    def _first_size(self, index: int, frame: Any) -> tuple[int, int]:
        """Return (width, height) of the first image, as stored."""
        if index == 0:
            return frame.width, frame.height
        with open_video(self._source()) as container:
            first = next(container.decode(container.streams.video[0]))
            return first.width, first.height

    def _broken(self, error: Exception | str, wanted: str = "a complete video") -> DataError:
        self._forget()
        return DataError(f"not a readable video: {error}", file=self.path, clip=self.clip_id, wanted=wanted)


def _as_shown(frame: Any) -> np.ndarray:
    """Return a frame as (H, W, 3) uint8 RGB, turned and mirrored by the display matrix that comes with it."""
    from av.video.reformatter import VideoReformatter

    # A converter of our own ends here. One that belongs to the frame lives on in the cycle that asking for side data
    # makes, with its threads, and a forked worker whose garbage collection ends it waits for them forever.
    image = VideoReformatter().reformat(frame, format="rgb24").to_ndarray()
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return image
    # x' = a x + c y, y' = b x + d y; the file has room for shears, players and we know quarter turns and mirrors.
    a, b, _, c, d = struct.unpack("=5i", bytes(matrix)[:20])
    if abs(a) + abs(d) >= abs(b) + abs(c):
        right, down = a, d
    else:
        image, right, down = image.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(image[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1])


def are_regular(times_s: np.ndarray) -> bool:
    """Return whether the frames of a video are shown equally long, but for the rounding of times to milliseconds."""
    steps = np.diff(times_s)
    return not len(steps) or bool((np.abs(steps - np.median(steps)) <= 0.0021 + 0.05 * np.median(steps)).all())


def write_mp4(
    path: Path,
    images: Iterable[np.ndarray],
    rate_hz: float,
    times_s: Sequence[float] | None = None,
    key_every: int = 0,
) -> int:
    """Write images as H.264 (yuv420p, plays anywhere) and return how many; the same images give the same bytes.

    Args:
        path: file to write; the container is mp4 whatever its name ends with.
        images: (H, W, 3) uint8 RGB, all of one size; odd sizes lose a row or column, as yuv420p wants even ones.
        rate_hz: images per second.
        times_s: when each image is shown, from 0 on, where they are not shown equally long.
        key_every: most frames from one key frame to the next; 0: as x264 has it.
    """
    import av

    count, stream = 0, None
    with av.open(str(path), "w", format="mp4") as container:
        for image in images:
            height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
            if stream is None:
                timed = times_s is not None
                stream = add_h264(container, (height, width), rate_hz, 18, "veryfast", timed=timed, key_every=key_every)
            put_image(container, stream, image[:height, :width], None if times_s is None else times_s[count])
            count += 1
        if stream is not None:
            container.mux(stream.encode())
    return count
