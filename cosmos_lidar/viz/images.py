"""Image arrays: stacking, captions, PNG files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cosmos_lidar.errors import UserError
from cosmos_lidar.files import atomic_write

if TYPE_CHECKING:
    from PIL.ImageFont import ImageFont


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Return (H, W, 3) uint8 of an image: uint8 as it is, floats in [0, 1] rounded to 0..255.

    Raises:
        UserError: the array is not (H, W, 3).
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[2] != 3:
        raise UserError(f"an image has the shape (height, width, 3), this array {image.shape}")
    if image.dtype == np.uint8:
        return image
    return (np.clip(np.nan_to_num(image), 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def stack_images(
    images: Sequence[np.ndarray], gap_px: int = 0, background: tuple[int, int, int] = (0, 0, 0)
) -> np.ndarray:
    """Return the (H, W, 3) uint8 images one above the other, left-aligned, narrower ones filled up on the right.

    Raises:
        UserError: there are no images.
    """
    if not len(images):
        raise UserError("no images to stack")
    images = [to_uint8(image) for image in images]
    width = max(image.shape[1] for image in images)
    height = sum(image.shape[0] for image in images) + gap_px * (len(images) - 1)
    out = np.empty((height, width, 3), np.uint8)
    out[:] = background
    top = 0
    for image in images:
        out[top : top + image.shape[0], : image.shape[1]] = image
        top += image.shape[0] + gap_px
    return out


@lru_cache(maxsize=16)
def font(size_px: int) -> ImageFont:
    """Return a font of ``size_px`` that comes with Pillow: the same on every machine, no font files needed."""
    from PIL import ImageFont

    return ImageFont.load_default(size_px)


def text_width(text: str, size_px: int) -> int:
    """Return the width of ``text`` in pixels."""
    return int(np.ceil(font(size_px).getlength(text)))


def draw_text(
    image: np.ndarray,
    text: str,
    left_top: tuple[float, float],
    size_px: int = 14,
    color: tuple[int, int, int] = (255, 255, 255),
    anchor: str = "la",
) -> np.ndarray:
    """Return the (H, W, 3) uint8 image with ``text`` on it; ``anchor`` as in Pillow, such as "la" (left, top)."""
    from PIL import Image, ImageDraw

    canvas = Image.fromarray(to_uint8(image))
    ImageDraw.Draw(canvas).text(left_top, text, fill=tuple(color), font=font(size_px), anchor=anchor)
    return np.array(canvas)


def caption_image(image: np.ndarray, text: str, size_px: int = 24, margin_px: int = 10) -> np.ndarray:
    """Return the image with a caption in its upper left corner: white on a half-transparent dark box."""
    image = to_uint8(image).copy()
    pad = max(size_px // 4, 2)
    bottom, right = margin_px + size_px + 2 * pad, margin_px + text_width(text, size_px) + 2 * pad
    image[margin_px:bottom, margin_px:right] //= 2
    return draw_text(image, text, (margin_px + pad, margin_px + pad), size_px)


def resize_rows(image: np.ndarray, factor: int) -> np.ndarray:
    """Return the image with every row repeated ``factor`` times."""
    return np.repeat(image, factor, axis=0) if factor > 1 else image


def png_bytes(image: np.ndarray) -> bytes:
    """Return the image as the bytes of a PNG file; with a palette, a third of the size, where 256 colors suffice."""
    from PIL import Image

    image = to_uint8(image)
    buffer = io.BytesIO()
    codes = image.reshape(-1, 3) @ np.uint32([65536, 256, 1])
    if len(np.unique(codes[:: max(len(codes) // 10_000, 1)])) > 256:  # a photograph: slow to quantize
        Image.fromarray(image).save(buffer, "PNG", compress_level=4)
        return buffer.getvalue()
    colors, index = np.unique(codes, return_inverse=True)
    if len(colors) <= 256:
        image = Image.fromarray(index.reshape(image.shape[:2]).astype(np.uint8), "P")
        palette = np.stack([colors >> 16, colors >> 8 & 255, colors & 255], axis=1)
        image.putpalette(palette.astype(np.uint8).tobytes())
    else:
        image = Image.fromarray(image)
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Write the image as a PNG file, atomically; missing folders are made."""
    with atomic_write(path) as partial:
        partial.write_bytes(png_bytes(image))
