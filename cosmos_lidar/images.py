"""Opening and encoding of image files: formats of cameras alone, and the size compared before anything is decoded.

Pillow opens dozens of formats by their content, whatever the name: one of them (EPS) starts another program.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cosmos_lidar.bounds import expect_plain_file, expect_size, largest_item

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
# What Pillow raises for a damaged image: SyntaxError and struct.error, too.
_BROKEN = (ValueError, SyntaxError, EOFError, LookupError, TypeError, OverflowError, ArithmeticError, RuntimeError)


def jpeg_bytes(image: np.ndarray) -> bytes:
    """Return an image (H, W, 3) uint8 RGB as a JPEG file of quality 95, without subsampled colors."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=95, subsampling=0)
    return stream.getvalue()


@contextmanager
def open_image(source: Path | bytes) -> Iterator[Image.Image]:
    """Open an image; what is done with it, decoding too, belongs into the block.

    Args:
        source: the file, or its content.

    Raises:
        OSError: it cannot be read, or is damaged.
        DataError: it would be larger than :data:`~cosmos_lidar.bounds.LARGEST_ITEM` when decoded.
    """
    import struct

    from PIL import Image

    if isinstance(source, Path):
        expect_plain_file(source)
    Image.MAX_IMAGE_PIXELS = largest_item() // 8  # Pillow refuses twice as many by itself
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
                width, height = image.size
                file = source if isinstance(source, Path) else None
                expect_size(4 * width * height, f"an image of {width} x {height}", file=file)
                yield image
    except (Image.DecompressionBombError, struct.error, *_BROKEN) as error:
        raise OSError(str(error) or type(error).__name__) from error
