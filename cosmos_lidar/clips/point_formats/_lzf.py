"""LZF decompression (liblzf), as PCD files of ``DATA binary_compressed`` need it."""

from __future__ import annotations


def decompress(content: bytes, size: int) -> bytes:
    """Return what LZF packed.

    A control byte below 32 is followed by one literal more than its value; else its upper 3 bits are the length of a
    copy less 2 (7: the next byte is added), its lower 5 bits and the next byte the distance less 1.

    Args:
        content: packed.
        size: bytes of the result, which is never exceeded.

    Raises:
        ValueError: it is damaged, or unpacks to another size.
    """
    result, at, end = bytearray(), 0, len(content)
    try:
        while at < end:
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
            if len(result) > size:
                raise ValueError(f"more than {size} bytes")
    except IndexError as error:
        raise ValueError("ends inside a copy") from error
    if at != end or len(result) != size:
        raise ValueError(f"{len(result)} of {size} bytes")
    return bytes(result)
