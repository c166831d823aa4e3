"""Pixels of image files as a viewer shows them: turned by their EXIF orientation, deep ones scaled to 8 bits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cosmos_lidar.errors import DataError
from cosmos_lidar.images import open_image

if TYPE_CHECKING:
    from PIL import Image

_WANTED = "a complete jpg or png"
_TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_ORIENTATION = 0x0112
_STRIP = 32  # rows


def read_image(
    source: Path | bytes, *, file: Path | None = None, clip: str | None = None, key: str | None = None
) -> np.ndarray:
    """Return an image as (H, W, 3) uint8 RGB: upright by its EXIF orientation, 16-bit gray levels divided by 257.

    Args:
        source: file, or what is in it.
        file: for messages, where ``source`` is the content.
        clip: for messages.
        key: for messages.

    Raises:
        DataError: no image, damaged, or levels without a known white (floating point, 32 bits).
    """
    from PIL import ImageOps

    where = source if isinstance(source, Path) else file
    try:
        with open_image(source) as image:
            ImageOps.exif_transpose(image, in_place=True)  # without this option an upright image is copied
            return to_rgb(image)
    except DataError as error:
        raise error.at(file=where, clip=clip, key=key) from error
    except OSError as error:
        problem = f"not a readable image: {error}"
        raise DataError(problem, file=where, clip=clip, key=key, wanted=_WANTED) from error


def image_size(source: Path | bytes, *, file: Path | None = None) -> tuple[int, int]:
    """Return (width, height) of an image as it is shown, without decoding it.

    Raises:
        DataError: no image.
    """
    where = source if isinstance(source, Path) else file
    try:
        with open_image(source) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION) in _TURNED
    except OSError as error:
        raise DataError(f"not a readable image: {error}", file=where, wanted=_WANTED) from error
    return (height, width) if turned else (width, height)


def to_rgb(image: Image.Image) -> np.ndarray:
    """Return the pixels of an opened image as (H, W, 3) uint8 RGB, as :func:`read_image` does.

    Raises:
        DataError: levels without a known white.
    """
    if image.mode.startswith("I;16") or image.mode == "I":
        levels = np.asarray(image, np.int64)
        if levels.size and not 0 <= levels.min() <= levels.max() <= 65535:
            problem = f"gray levels from {levels.min()} to {levels.max()}: which of them is white is not known"
            raise DataError(problem, wanted="8 or 16 bits per channel")
        gray = np.round(levels / 257.0).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=-1)
    if image.mode == "F":
        raise DataError("floating-point pixels: which value is white is not known", wanted="8 or 16 bits per channel")
    return _pixels(image if image.mode == "RGB" else image.convert("RGB"))


def _pixels(image: Image.Image) -> np.ndarray:
    """Return (H, W, 3) uint8 of an image in mode RGB; Pillow's own conversion makes three copies of it."""
    width, height = image.size
    pixels = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, width, bottom)))
    return pixels
