"""Images of a video file by number, and a writer of such files (PyAV; no ffmpeg program is needed)."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.bounds import expect_plain_file, expect_size, largest_item
from cosmos_lidar.clips.h264 import add_h264
from cosmos_lidar.errors import DataError

_KEPT = 8
# The demuxers of FFmpeg for mp4, mov, mkv, webm, avi and streams of one; none of them opens a second file.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,h264,hevc,ivf,gif,flv,asf,ogg"


def open_video(source: str | io.BytesIO) -> Any:
    """Open a video file for reading: a container of images, whatever its name.

    FFmpeg goes by the content, and some of what it knows are lists (HLS, concat) of other files and addresses, which it
    would open.

    Raises:
        OSError: it cannot be read, or is of another kind (``av`` derives its errors from this or from ValueError).
    """
    import av

    return av.open(source, options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file,pipe"})


class VideoFile:
    """``read`` of a camera whose images are the frames of a video file; any order, fastest forwards.

    It opens the file when first asked, once per process, and keeps the last few decoded images.

    Args:
        path: the video; only its name, for messages, where ``content`` is given.
        clip_id: for messages.
        content: what would be in the file.
    """

    def __init__(self, path: Path, clip_id: str | None = None, content: bytes | None = None) -> None:
        self.path, self.clip_id, self.content = path, clip_id, content
        self._forget()

    def _forget(self) -> None:
        self._container: Any = None
        self._decoder: Any = None
        self._times: np.ndarray | None = None
        self._next = 0
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()

    def __getstate__(self) -> dict:
        """Leave the open file behind when this goes to another process."""
        return {"path": self.path, "clip_id": self.clip_id, "content": self.content}

    def __setstate__(self, state: dict) -> None:
        VideoFile.__init__(self, **state)

    def __len__(self) -> int:
        return len(self._open())

    def __call__(self, index: int) -> np.ndarray:
        """Return image ``index`` as (H, W, 3) uint8 RGB.

        Raises:
            DataError: no such image, or it cannot be decoded.
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

    def _source(self) -> str | io.BytesIO:
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
                context = container.streams.video[0].codec_context
                if context is None:
                    raise self._broken("no decoder for its codec")
                size = context.width, context.height
                expect_size(
                    3 * size[0] * size[1], f"images of {size[0]} x {size[1]}", file=self.path, clip=self.clip_id
                )
                self._unit_s = container.streams.video[0].time_base
                packets = container.demux(container.streams.video[0])
                shown = [p.pts for p in packets if p.pts is not None and not p.is_discard]
                times = self._times = np.sort(np.array(shown, np.int64))
        except DataError:
            raise
        except Exception as error:  # FFmpeg's errors are of a dozen kinds
            raise self._broken(error) from error
        return times

    def _decode(self, index: int) -> None:
        """Decode until image ``index``, from the key frame before it unless it lies just ahead."""
        try:
            if self._decoder is None or not self._next <= index < self._next + 16:
                self._seek(index)
            for frame in self._decoder:
                at = int(np.searchsorted(self._open(), frame.pts))
                self._next = at + 1
                self._keep(at, frame.to_ndarray(format="rgb24"))
                if at >= index:
                    break
        except DataError:
            raise
        except Exception as error:  # FFmpeg's errors are of a dozen kinds
            raise self._broken(error) from error
        if index not in self._kept:
            raise self._broken(f"image {index} is announced and not decodable")

    def _seek(self, index: int) -> None:
        if self._container is None:
            self._container = open_video(self._source())
            stream = self._container.streams.video[0]
            stream.thread_count = 1
            stream.codec_context.options = {"max_pixels": str(largest_item() // 3)}  # images may grow on the way
        stream = self._container.streams.video[0]
        self._container.seek(int(self._open()[index]), stream=stream, backward=True)
        self._decoder = self._container.decode(stream)

    def _keep(self, index: int, image: np.ndarray) -> None:
        self._kept[index] = image
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)

    def _broken(self, error: Exception | str) -> DataError:
        self._forget()
        return DataError(f"not a readable video: {error}", file=self.path, clip=self.clip_id, wanted="a complete mp4")


def write_mp4(path: Path, images: Iterable[np.ndarray], rate_hz: float) -> int:
    """Write images as H.264 (yuv420p, plays anywhere) and return how many; the same images give the same bytes.

    Args:
        path: file to write; the container is mp4 whatever its name ends with.
        images: (H, W, 3) uint8 RGB, all of one size; odd sizes lose a row or column, as yuv420p wants even ones.
        rate_hz: images per second.
    """
    import av

    count, stream = 0, None
    with av.open(str(path), "w", format="mp4") as container:
        for image in images:
            height, width = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
            if stream is None:
                stream = add_h264(container, (height, width), rate_hz, 18, "veryfast")
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), format="rgb24")
            container.mux(stream.encode(frame))
            count += 1
        if stream is not None:
            container.mux(stream.encode())
    return count
