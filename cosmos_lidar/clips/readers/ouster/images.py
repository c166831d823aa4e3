"""Images of fields in OSF files: PNG, with rows shifted as for viewing, and ZPNG, as the sensor measured them.

PNG holds 8 bits as gray, 16 as gray, 24 and 32 bits as RGB and RGBA with the lowest byte first. ZPNG is a head of 8
bytes (magic 0xFBF8, width, height, channels, bytes per channel) and zstd data of differences to the pixel on the left;
32 bits are split into planes of B, G - B, G - R and A of these differences.
"""

from __future__ import annotations

import struct

import numpy as np

from cosmos_lidar.clips.zstd import unpack_zstd
from cosmos_lidar.errors import DataError
from cosmos_lidar.images import open_image

_ZPNG = 0xFBF8
_PNG = b"\x89PNG"
_WANTED = "PNG or ZPNG of as many rows and columns as the sensor has"


def decode_image(content: bytes, shape: tuple[int, int], shifts: np.ndarray) -> np.ndarray:
    """Return (rows, columns) uint32 of a field, rows in the order of the sensor, by measured column.

    Args:
        content: of a channel of a scan.
        shape: (rows, columns) of the sensor.
        shifts: (rows,) of ``pixel_shift_by_row``, by which images in PNG were shifted to the right.

    Raises:
        DataError: neither PNG nor ZPNG, damaged, or of another size.
    """
    if content[:4] == _PNG:
        image = _from_png(content, shape)
        source = (np.arange(shape[1]) + np.asarray(shifts)[:, None]) % shape[1]
        return np.take_along_axis(image, source, axis=1)
    if len(content) >= 8 and struct.unpack_from("<H", content)[0] == _ZPNG:
        return _from_zpng(content, shape)
    raise DataError(f"an image that starts with {content[:4]!r}", wanted=_WANTED)


def _from_png(content: bytes, shape: tuple[int, int]) -> np.ndarray:
    try:
        with open_image(content) as image:
            _expect_shape((image.height, image.width), shape)
            pixels = np.asarray(image)
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"not a readable PNG: {error!s:.100}", wanted=_WANTED) from error
    if pixels.ndim == 2 and pixels.dtype.kind in "iu":
        return pixels.astype(np.uint32)
    if pixels.ndim != 3 or pixels.shape[2] not in (3, 4) or pixels.dtype != np.uint8:
        raise DataError(f"a PNG of pixels {pixels.shape[2:]} {pixels.dtype}", wanted=_WANTED)
    return _join(pixels)


def _from_zpng(content: bytes, shape: tuple[int, int]) -> np.ndarray:
    _, width, height, channels, size = struct.unpack_from("<3H2B", content)
    _expect_shape((height, width), shape)
    per_pixel = channels * size
    if per_pixel not in (1, 2, 3, 4):
        raise DataError(f"{channels} channels of {size} bytes", key="ZPNG", wanted="1 to 4 bytes per pixel")
    needed = height * width * per_pixel
    packed = _unpack(content[8:], needed)
    if per_pixel > 2:
        planes = packed.reshape(per_pixel, height, width)
        blue, green = planes[0], planes[0] + planes[1]
        packed = np.stack([green - planes[2], green, blue, *planes[3:]], -1)
    differences = packed.reshape(height, width, per_pixel)
    return _join(np.cumsum(differences, axis=1, dtype=np.uint8))  # bytes wrap around, as they did when packed


def _join(pixels: np.ndarray) -> np.ndarray:
    """Return the numbers whose bytes are the last axis, the lowest first."""
    whole = np.zeros((*pixels.shape[:2], 4), np.uint8)
    whole[..., : pixels.shape[2]] = pixels
    return whole.view("<u4")[..., 0].astype(np.uint32)


def _expect_shape(found: tuple[int, int], shape: tuple[int, int]) -> None:
    if found != shape:
        raise DataError(f"an image of {found[0]} x {found[1]}", wanted=f"{shape[0]} x {shape[1]}")


def _unpack(content: bytes, needed: int) -> np.ndarray:
    try:
        return np.frombuffer(unpack_zstd(content, needed), np.uint8)
    except DataError as error:
        raise error.at(key="ZPNG") from error
