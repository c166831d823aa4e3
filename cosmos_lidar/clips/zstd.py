"""Zstandard decompression with a bound: never more bytes are unpacked than were expected."""

from __future__ import annotations

import io

from cosmos_lidar.errors import DataError


def unpack_zstd(packed: bytes | memoryview, size: int) -> bytes:
    """Decompress Zstandard frames to exactly ``size`` bytes.

    Args:
        packed: one frame or several.
        size: expected number of bytes; at most one byte more is unpacked, whatever the frame's header states.

    Raises:
        DataError: damaged, or of another size.
    """
    import zstandard

    try:
        reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(packed), read_across_frames=True)
        data = reader.read(size + 1)
    except zstandard.ZstdError as error:
        raise DataError(f"zstd does not unpack it: {error!s:.100}", wanted="intact zstd data") from error
    if len(data) != size:
        found = f"more than {size}" if len(data) > size else f"{len(data)}"
        raise DataError(f"unpacks to {found} bytes", wanted=f"{size} bytes")
    return data
