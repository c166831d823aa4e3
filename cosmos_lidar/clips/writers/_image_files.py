"""Images of cameras as PNG or JPEG: the bytes of the recording's own files where they are that, else encoded."""

from __future__ import annotations

import io
from typing import Any, Literal

from cosmos_lidar.bounds import read_file
from cosmos_lidar.clips.clip import CameraStream
from cosmos_lidar.clips.cut import ReadFrom
from cosmos_lidar.clips.files import ImageFiles
from cosmos_lidar.images import jpeg_bytes, open_image

_ORIENTATION, _UPRIGHT = 0x0112, (None, 1)
_ENDINGS = {"png": (".png",), "jpeg": (".jpg", ".jpeg")}
_PNG_EFFORT = 3  # a third of the default's time for 5 % more bytes

Kind = Literal["png", "jpeg"]


def image_bytes(camera: CameraStream, index: int, kind: Kind) -> bytes:
    """Return an image as a file: lossless as PNG, as JPEG of quality 95 unless the recording has it as JPEG.

    Args:
        camera: of the image.
        index: number of the image.
        kind: of the file.

    Raises:
        DataError: the image cannot be read.
    """
    own = _own_bytes(camera, index, kind)
    if own is not None:
        return own
    if kind == "jpeg":
        return jpeg_bytes(camera.read(index))
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(camera.read(index)).save(buffer, "PNG", compress_level=_PNG_EFFORT)
    return buffer.getvalue()


def _own_bytes(camera: CameraStream, index: int, kind: Kind) -> bytes | None:
    """Return the file of an image where it holds exactly what is read from it, and is of this kind."""
    read: Any = camera.read
    while isinstance(read, ReadFrom):
        read, index = read.read, read.start + index
    if not isinstance(read, ImageFiles) or read.files[index].suffix.lower() not in _ENDINGS[kind]:
        return None
    try:
        content = read_file(read.files[index], "an image", clip=read.clip_id)
        with open_image(content) as image:
            image.load()
            turned = image.getexif().get(_ORIENTATION) not in _UPRIGHT
            same = image.format == kind.upper() and image.mode == "RGB" and not turned
    except OSError:
        return None  # reading it gives the error, with its file
    return content if same else None
