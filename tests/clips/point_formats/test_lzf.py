from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.point_formats._lzf import decompress
from tests.clips.point_formats.encoders import pack_lzf


@pytest.mark.parametrize(
    "data",
    [
        b"a",
        b"abc" * 1000,
        bytes(5000),
        np.random.default_rng(0).integers(0, 256, 3000, np.uint8).tobytes(),
        np.random.default_rng(1).integers(0, 3, 9000, np.uint8).tobytes(),
        np.repeat(np.arange(4000, dtype="<f4"), 3).tobytes(),
    ],
    ids=["one", "period", "zeros", "noise", "few", "floats"],
)
def test_what_was_packed_comes_back(data):
    packed = pack_lzf(data)
    assert decompress(packed, len(data)) == data


def test_copies_that_run_into_themselves():
    assert decompress(b"\x00a\xe0\x05\x00", 15) == b"a" * 15  # one literal, then 14 bytes from one before
    assert decompress(b"\x01ab\x60\x01", 7) == b"abababa"


@pytest.mark.parametrize(
    ("packed", "size", "problem"),
    [
        (b"\x00a", 2, "1 of 2 bytes"),
        (b"\x02abc", 2, "more than 2"),
        (b"\x05abc", 6, "3 of 6"),
        (b"\x00a\x20", 4, "ends inside"),
        (b"\x00a\xe0", 4, "ends inside"),
        (b"\x00a\x20\x05", 4, "before the start"),
        (b"\x00a" + b"\xe0\xff\x00" * 1000, 300, "more than 300"),
    ],
)
def test_damaged_data_is_refused(packed, size, problem):
    with pytest.raises(ValueError, match=problem):
        decompress(packed, size)
