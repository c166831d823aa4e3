from __future__ import annotations

import struct

import numpy as np
import pytest

from cosmos_lidar.clips.readers.ouster.images import decode_image
from cosmos_lidar.errors import DataError
from tests.clips.readers.ouster.recordings import COLUMNS, ROWS, SHIFTS, png, zpng

SHAPE = (ROWS, COLUMNS)
EMPTY = zpng(np.zeros(SHAPE, np.uint16))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize("pack", [png, zpng])
def test_images_come_back_exactly(pack, dtype):
    image = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, SHAPE, dtype)
    assert np.array_equal(decode_image(pack(image), SHAPE, np.array(SHIFTS)), image)


@pytest.mark.parametrize("pack", [png, zpng])
def test_damaged_images_and_those_of_another_size_are_refused(pack):
    content = pack(np.arange(ROWS * COLUMNS, dtype=np.uint16).reshape(SHAPE))
    for length in (0, 4, 7, 20, len(content) // 2):
        with pytest.raises(DataError):
            decode_image(content[:length], SHAPE, np.array(SHIFTS))
    with pytest.raises(DataError, match="an image of 8 x 64"):
        decode_image(content, (ROWS, COLUMNS + 1), np.array(SHIFTS))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"GIF89a" * 5, "starts with b'GIF8'"),
        (struct.pack("<3H2B", 0xFBF8, COLUMNS, ROWS, 4, 2) + b"x", "4 channels of 2 bytes"),
        (struct.pack("<3H2B", 0xFBF8, COLUMNS, ROWS, 1, 1) + b"x", "zstd does not unpack"),
        (EMPTY[:6] + b"\x01\x01" + EMPTY[8:], "unpacks to more than 512"),
        (EMPTY[:6] + b"\x04\x01" + EMPTY[8:], "unpacks to 1024"),
    ],
)
def test_other_contents_are_refused(content, problem):
    with pytest.raises(DataError, match=problem):
        decode_image(content, SHAPE, np.array(SHIFTS))
