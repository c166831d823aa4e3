"""Zstandard decompression: exact size or refused, without unpacking more than expected."""

from __future__ import annotations

import pytest
import zstandard

from cosmos_lidar.clips.zstd import unpack_zstd
from cosmos_lidar.errors import DataError

DATA = bytes(range(256)) * 40


def packed(data: bytes, size: bool = True) -> bytes:
    return zstandard.ZstdCompressor(write_content_size=size).compress(data)


@pytest.mark.parametrize("size", [True, False])
def test_one_frame(size: bool) -> None:
    assert unpack_zstd(packed(DATA, size), len(DATA)) == DATA


def test_several_frames() -> None:
    assert unpack_zstd(packed(DATA[:100]) + packed(DATA[100:]), len(DATA)) == DATA


def test_nothing() -> None:
    assert unpack_zstd(packed(b""), 0) == b""


@pytest.mark.parametrize("size", [len(DATA) - 1, 0])
def test_more_than_expected(size: int) -> None:
    with pytest.raises(DataError, match=f"more than {size} bytes"):
        unpack_zstd(packed(DATA), size)


def test_less_than_expected() -> None:
    with pytest.raises(DataError, match=f"unpacks to {len(DATA)} bytes"):
        unpack_zstd(packed(DATA), len(DATA) + 1)


@pytest.mark.parametrize("content", [b"not zstd at all", packed(DATA)[:-5] + b"xxxxx"])
def test_damaged(content: bytes) -> None:
    with pytest.raises(DataError, match="zstd does not unpack it"):
        unpack_zstd(content, len(DATA))


def test_truncated() -> None:
    with pytest.raises(DataError, match="unpacks to|does not unpack"):
        unpack_zstd(packed(DATA)[:-10], len(DATA))


def test_a_bomb_costs_no_memory() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(1 << 26))
    with pytest.raises(DataError, match="more than 1000 bytes"):
        unpack_zstd(bomb, 1000)
