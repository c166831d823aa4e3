"""Memory limits for what files promise: sizes are compared before anything is allocated.

A few bytes can promise terabytes: a compressed archive, the shape in an array's header, the size of an image. Readers
check the size here that they are about to allocate. Where the sensor determines how large an item can be, that is the
limit; else it is :data:`LARGEST_ITEM`. The option ``--largest-item`` of ``cosmos-lidar``, and the variable
:data:`ENVIRONMENT` for recipes, raise both.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from cosmos_lidar.errors import DataError, UserError

ENVIRONMENT = "COSMOS_LIDAR_LARGEST_ITEM"
LARGEST_ITEM = 1 << 30  # bytes: a range map of 128 x 3600 has 2 MB, an image of 100 megapixels 300 MB
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB", "EB")


def largest_item(limit: int | None = None) -> int:
    """Return how many bytes one array, image or member of an archive may have.

    Args:
        limit: where the sensor determines it; default :data:`LARGEST_ITEM`.

    Raises:
        UserError: the variable holds no size.
    """
    usual = LARGEST_ITEM if limit is None else limit
    asked = os.environ.get(ENVIRONMENT)
    return max(usual, parse_size(asked)) if asked else usual


def set_largest_item(text: str) -> None:
    """Raise the limit in this process and those that it starts.

    Raises:
        UserError: not a size.
    """
    parse_size(text)
    os.environ[ENVIRONMENT] = text


def parse_size(text: str) -> int:
    """Return the bytes of a size such as ``8GB``, ``500 MB`` or ``1000000``; units are powers of 1000.

    Raises:
        UserError: not a size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B?)\s*", text, re.IGNORECASE)
    if match is None:
        raise UserError(f"{text!r}: expected a size such as 8GB or 500MB")
    unit = match[2].upper().rstrip("B") + "B"
    return int(float(match[1]) * 1000 ** _UNITS.index(unit))


def describe_size(size: int) -> str:
    """Return a size as text: ``6.4 GB``."""
    value, unit = float(size), 0
    while abs(value) >= 999.95 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{size} B"


def expect_size(
    size: int,
    what: str,
    *,
    limit: int | None = None,
    file: str | Path | None = None,
    clip: str | None = None,
    key: str | None = None,
) -> None:
    """Refuse a size above the limit, before it is allocated.

    Args:
        size: bytes that are about to be allocated.
        what: they are for, such as ``an array of shape (3, 4)``.
        limit: of the sensor, bytes; default :data:`LARGEST_ITEM`.
        file: for the message, as are ``clip`` and ``key``.
        clip: the clip's id.
        key: the member of the file.

    Raises:
        DataError: which names the size and the limit.
    """
    allowed = largest_item(limit)
    if size > allowed:
        asked = describe_size(size + size // 10).replace(" ", "")
        wanted = f"at most {describe_size(allowed)}; `cosmos-lidar --largest-item {asked} …` or {ENVIRONMENT} raise it"
        raise DataError(f"{what} would take {describe_size(size)}", file=file, clip=clip, key=key, wanted=wanted)


def read_file(path: Path, what: str, limit: int | None = None, clip: str | None = None) -> bytes:
    """Return the content of a file.

    Args:
        path: of the file.
        what: it is, for the message, such as ``a file of points``.
        limit: bytes that it may have; default :data:`LARGEST_ITEM`.
        clip: for the message.

    Raises:
        DataError: it is larger, or a device or FIFO, which has no end.
        OSError: it cannot be read.
    """
    expect_plain_file(path, clip)
    size = path.stat().st_size
    expect_size(size, what, limit=limit, file=path, clip=clip)
    with path.open("rb") as file:
        return file.read(size + 1)  # one that grows meanwhile is not followed


def expect_plain_file(path: Path, clip: str | None = None) -> None:
    """Refuse what is there and no plain file: reading a FIFO waits for ever, a device may have no end.

    Raises:
        DataError: a device, FIFO, socket or folder.
    """
    if path.exists() and not path.is_file():
        raise DataError("no plain file", file=path, clip=clip, wanted="a file, no folder, device or FIFO")
