"""Headers of OpenEXR files, written here by the published layout of the file."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips.exr_header import read_exr_header
from cosmos_lidar.errors import DataError


def channel(name: bytes, kind: int, sampling: tuple[int, int] = (1, 1)) -> bytes:
    return name + b"\0" + struct.pack("<4i", kind, 0, *sampling)


def attribute(name: bytes, kind: bytes, value: bytes) -> bytes:
    return name + b"\0" + kind + b"\0" + struct.pack("<i", len(value)) + value


def header(version: int = 2, **changes: tuple[bytes, bytes] | None) -> bytes:
    """The bytes of a header of 30 x 20 pixels; ``changes`` give type and value of attributes, None leaves one out."""
    window = struct.pack("<4i", 5, -3, 34, 16)
    parts: dict[str, tuple[bytes, bytes] | None] = {
        "channels": (b"chlist", channel(b"Y", 2) + channel(b"half", 1) + channel(b"label", 0) + b"\0"),
        "compression": (b"compression", b"\3"),
        "dataWindow": (b"box2i", window),
        "displayWindow": (b"box2i", window),
        "lineOrder": (b"lineOrder", b"\0"),
        "pixelAspectRatio": (b"float", struct.pack("<f", 1)),
        "screenWindowCenter": (b"v2f", bytes(8)),
        "screenWindowWidth": (b"float", struct.pack("<f", 1)),
        **changes,
    }
    body = b"".join(attribute(name.encode(), *part) for name, part in parts.items() if part is not None)
    return struct.pack("<2I", 20000630, version) + body + b"\0"


def read(tmp_path: Path, content: bytes):
    (tmp_path / "a.exr").write_bytes(content)
    return read_exr_header(tmp_path / "a.exr", {"file": tmp_path / "a.exr", "clip": "seven", "key": None})


def test_shape_and_channels(tmp_path) -> None:
    more = {"comments": (b"string", b"of a test"), "worldToCamera": (b"m44f", bytes(64))}
    found = read(tmp_path, header(0x402, **more))
    assert found.shape == (20, 30)
    assert found.channels == {"Y": np.float32, "half": np.float16, "label": np.uint32}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "not an OpenEXR file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "other first bytes"),
        (header(0x202), "tiles, deep pixels or several parts"),
        (header(0x1002), "tiles, deep pixels or several parts"),
        (header(3), "other first bytes"),
        (header(compression=None), "no attribute 'compression'"),
        (header(compression=(b"compression", b"\6")), "compression 6, which may lose bits"),
        (header(compression=(b"string", b"\3")), "'compression' of type 'string'"),
        (header(dataWindow=(b"box2i", bytes(12))), "'dataWindow' of type 'box2i' and 12 bytes"),
        (header(dataWindow=(b"box2i", struct.pack("<4i", 5, 0, 4, 9))), "columns 5 to 4"),
        (header(lineOrder=(b"lineOrder", b"\2")), "order 2"),
        (header(preview=(b"preview", bytes(8))), "'preview' of type 'preview'"),
        (header(frame=(b"m44f", bytes(63))), "'frame' of type 'm44f'"),
        (header(channels=(b"chlist", channel(b"Y", 3) + b"\0")), "pixel type 3"),
        (header(channels=(b"chlist", channel(b"Y", 2, (2, 2)) + b"\0")), "sampled 2 x 2"),
        (header(channels=(b"chlist", channel(b"Y", 2) * 2 + b"\0")), "channel 'Y'"),
        (header(channels=(b"chlist", b"\0")), "0 channels"),
        (header(channels=(b"chlist", channel(b"Y", 2))), "not an OpenEXR file"),
        (header(channels=(b"chlist", channel(b"Y", 2) + b"\0more")), "1 channels"),
        (header(channels=(b"chlist", channel(b"\xff", 2) + b"\0")), "ascii"),
        (header()[:-1], "not an OpenEXR file"),
        (header()[:100], "not an OpenEXR file"),
    ],
)
def test_other_headers_are_refused(tmp_path, content, problem) -> None:
    with pytest.raises(DataError, match=rf"{problem}.*a\.exr.*clip seven.*scan lines in one part"):
        read(tmp_path, content)


def test_an_attribute_cannot_promise_more_than_the_file(tmp_path) -> None:
    content = header(comments=(b"string", b"text"))
    place = content.index(b"text") - 4
    for size in (-1, 1 << 30):
        damaged = content[:place] + struct.pack("<i", size) + content[place + 4 :]
        with pytest.raises(DataError, match=f"'comments' of {size} bytes"):
            read(tmp_path, damaged)
