"""LZF decompression (liblzf), as PCD files of ``DATA binary_compressed`` need it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO

_FARTHEST = 1 << 13  # bytes that a copy comes from behind
_PIECE = 1 << 14
_LONGEST_STEP = 64  # bytes: 33 literals of a control byte, or 3 of a copy


def decompress(content: bytes, size: int) -> bytes:
    """Return what LZF packed; raises as :func:`unpacked`."""
    return b"".join(unpacked(io.BytesIO(content), len(content), size))


def unpacked(stream: IO[bytes], packed: int, size: int) -> Iterator[bytes]:
    """Yield what LZF packed, piece by piece.

    A control byte below 32 is followed by one literal more than its value; else its upper 3 bits are the length of a
    copy less 2 (7: the next byte is added), its lower 5 bits and the next byte the distance less 1.

    Args:
        stream: at the packed bytes.
        packed: how many they are.
        size: bytes of the result, which is never exceeded.

    Raises:
        ValueError: it is damaged, or unpacks to another size.
    """
    result, before, at = bytearray(), 0, 0
    content, left = b"", packed
    try:
        while at < len(content) or left:
            if len(content) - at < _LONGEST_STEP and left:
                more = stream.read(min(_PIECE, left))
                if not more:
                    raise IndexError
                content, at, left = content[at:] + more, 0, left - len(more)
                continue
            control = content[at]
            if control < 32:
                after = at + control + 2
                result += content[at + 1 : after]
                at = after
            else:
                length = control >> 5
                at += 1
                if length == 7:
                    length += content[at]
                    at += 1
                length += 2
                start = len(result) - ((control & 31) << 8) - content[at] - 1
                at += 1
                if start < 0:
                    raise ValueError("a copy from before the start")
                copied = result[start : start + length]
                if len(copied) < length:  # it runs into itself
                    copied = (copied * (length // len(copied) + 1))[:length]
                result += copied
            if len(result) > _FARTHEST + _PIECE:
                if before + len(result) > size:
                    break
                yield bytes(result[:-_FARTHEST])
                before += len(result) - _FARTHEST
                del result[:-_FARTHEST]
    except IndexError as error:
        raise ValueError("ends inside a copy") from error
    if before + len(result) > size:
        raise ValueError(f"more than {size} bytes")
    if at != len(content) or before + len(result) != size:
        raise ValueError(f"{before + len(result)} of {size} bytes")
    yield bytes(result)
