"""OpenEXR images of measured values (range maps, depth): float32 and uint32 channels, ZIP, read back to the bit.

The library OpenEXR (extra ``exr``) writes and reads them. Half floats are read as float32. Headers are checked, and
sizes compared with the limit, before the library opens a file; tiles, several parts, deep pixels, channels of a lower
resolution and compressions that lose bits are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.bounds import expect_plain_file, expect_size
from cosmos_lidar.clips.exr_header import WANTED, read_exr_header
from cosmos_lidar.errors import DataError
from cosmos_lidar.extras import require

_BROKEN = (OSError, ValueError, LookupError, TypeError, RuntimeError)
_DTYPES = (np.float32, np.uint32)


def write_exr(file: Path, channels: dict[str, np.ndarray]) -> None:
    """Write channels (H, W) of float32 or uint32 as OpenEXR, compressed by ZIP; the same values give the same bytes.

    Raises:
        ValueError: channels of other dtypes or of different shapes.
        OSError: the file cannot be written.
        UserError: the library is not installed.
    """
    shapes = {values.shape for values in channels.values()}
    if len(shapes) != 1 or any(values.dtype not in _DTYPES or values.ndim != 2 for values in channels.values()):
        found = ", ".join(f"{name} {values.dtype} {values.shape}" for name, values in channels.items())
        raise ValueError(f"channels {found}: expected float32 or uint32 of one shape (H, W)")
    library = require("OpenEXR")
    header = {"compression": library.ZIP_COMPRESSION, "type": library.scanlineimage}
    content = {name: np.ascontiguousarray(values) for name, values in channels.items()}
    try:
        with library.File(header, content) as image:
            image.write(str(file))
    except RuntimeError as error:
        raise OSError(str(error)) from error


def read_exr(
    file: Path, *, shape: tuple[int, int] | None = None, clip: str | None = None, key: str | None = None
) -> dict[str, np.ndarray]:
    """Return the channels of an OpenEXR file by name, each (H, W) float32 or uint32.

    Args:
        file: of scan lines in one part.
        shape: that it has to have; None: any below the limit.
        clip: for messages.
        key: for messages.

    Raises:
        DataError: it is missing, broken, of another kind or shape, or larger than the limit.
        UserError: the library is not installed.
    """
    where: dict[str, Any] = {"file": file, "clip": clip, "key": key}
    expect_plain_file(file, clip)
    library = require("OpenEXR")
    header = read_exr_header(file, where)
    (height, width), count = header.shape, len(header.channels)
    if shape is not None and header.shape != shape:
        raise DataError(f"an image of {height} x {width}", wanted=f"{shape[0]} x {shape[1]}", **where)
    expect_size(4 * height * width * count, f"{count} channels of {height} x {width}", **where)
    try:
        image = library.InputFile(str(file))  # which raises errors; File prints them
        try:
            pixels = image.channels(list(header.channels))
        finally:
            image.close()
    except _BROKEN as error:
        raise DataError(f"cannot be read: {error}", wanted=WANTED, **where) from error
    found = {}
    for (name, dtype), content in zip(header.channels.items(), pixels, strict=True):
        values: np.ndarray = np.frombuffer(content, dtype).reshape(header.shape)
        found[name] = values.copy() if dtype in _DTYPES else values.astype(np.float32)
    return found
