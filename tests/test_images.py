"""Image files: formats of cameras, sizes before decoding, damage."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cosmos_lidar.bounds import ENVIRONMENT
from cosmos_lidar.errors import DataError
from cosmos_lidar.images import jpeg_bytes, open_image


def png(width: int, height: int) -> bytes:
    """Return a PNG that promises a size, and holds one row of it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["png", "jpg", "webp", "bmp"])
def test_formats_of_cameras_are_read(kind: str, tmp_path: Path) -> None:
    Image.new("RGB", (6, 4), (200, 100, 50)).save(tmp_path / f"x.{kind}")
    for source in (tmp_path / f"x.{kind}", (tmp_path / f"x.{kind}").read_bytes()):
        with open_image(source) as image:
            assert np.asarray(image.convert("RGB")).shape == (4, 6, 3)


def test_encoded_images_keep_their_colors() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[::2, :, 0], image[1::2, :, 2] = 220, 220  # rows of red and blue: half of the colors would mix them
    with open_image(jpeg_bytes(image)) as found:
        assert found.format == "JPEG"
        assert np.abs(np.asarray(found).astype(int) - image).mean() < 4


@pytest.mark.parametrize("kind", ["eps", "tiff", "gif", "pdf"])
def test_other_formats_are_refused_whatever_the_name(kind: str, tmp_path: Path) -> None:
    Image.new("RGB", (6, 4)).save(tmp_path / f"x.{kind}")
    (tmp_path / f"x.{kind}").rename(tmp_path / "x.png")
    with pytest.raises(OSError, match="cannot identify"), open_image(tmp_path / "x.png") as image:
        image.load()


@pytest.mark.parametrize(("width", "height"), [(20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_a_size_above_the_limit_is_refused_before_it_is_decoded(width: int, height: int) -> None:
    with pytest.raises((DataError, OSError), match=rf"{width} x {height} would take|exceeds limit"):
        with open_image(png(width, height)):
            pytest.fail("opened")


def test_the_limit_can_be_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "4GB")
    with open_image(png(20_000, 20_000)) as image:
        assert image.size == (20_000, 20_000)


def test_damage_is_one_kind_of_error(tmp_path: Path) -> None:
    for content in (b"", b"\x89PNG\r\n\x1a\n", png(10, 10)[:60], b"BM" + b"\xff" * 60):
        with pytest.raises(OSError, match="."), open_image(content) as image:
            image.load()
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(DataError, match="no plain file"), open_image(tmp_path / "x.png"):
        pytest.fail("opened")
