"""Images as files: the recording's own bytes where they may stand, else the same pixels."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from cosmos_lidar.clips import CameraStream
from cosmos_lidar.clips.cut import ReadFrom
from cosmos_lidar.clips.files import ImageFiles
from cosmos_lidar.clips.writers._image_files import image_bytes
from cosmos_lidar.errors import DataError

PIXELS = np.random.default_rng(3).integers(0, 256, (24, 40, 3), np.uint8)


def camera(read) -> CameraStream:
    return CameraStream("front", np.arange(3), read)


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_pixels_without_files_are_encoded() -> None:
    content = image_bytes(camera(lambda index: PIXELS), 0, "png")
    assert Image.open(io.BytesIO(content)).format == "PNG"
    assert np.array_equal(decoded(content), PIXELS)
    smooth = np.broadcast_to(np.arange(40, dtype=np.uint8)[None, :, None] * 5, (24, 40, 3)).copy()
    content = image_bytes(camera(lambda index: smooth), 0, "jpeg")
    assert Image.open(io.BytesIO(content)).format == "JPEG"
    assert np.abs(decoded(content).astype(int) - smooth).max() <= 8


@pytest.mark.parametrize(("kind", "ending"), [("png", ".png"), ("jpeg", ".jpg")])
def test_files_of_the_kind_are_taken_as_they_are(tmp_path, kind, ending) -> None:
    files = tuple(tmp_path / f"{number}{ending}" for number in range(3))
    for number, file in enumerate(files):
        Image.fromarray(PIXELS + np.uint8(number)).save(file)
    stream = camera(ImageFiles(files))
    assert image_bytes(stream, 2, kind) == files[2].read_bytes()
    assert image_bytes(camera(ReadFrom(ImageFiles(files), 1)), 1, kind) == files[2].read_bytes()
    other = "jpeg" if kind == "png" else "png"
    assert image_bytes(stream, 2, other) != files[2].read_bytes()


def test_turned_gray_and_misnamed_files_are_encoded(tmp_path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned, gray, misnamed = (tmp_path / name for name in ("turned.jpg", "gray.png", "misnamed.png"))
    Image.fromarray(PIXELS).save(turned, exif=exif)
    Image.fromarray(PIXELS[..., 0]).save(gray)
    Image.fromarray(PIXELS).save(misnamed, "JPEG")
    stream = camera(ImageFiles((turned, gray, misnamed)))
    assert decoded(image_bytes(stream, 0, "jpeg")).shape == (40, 24, 3)
    assert image_bytes(stream, 1, "png") != gray.read_bytes()
    assert np.array_equal(decoded(image_bytes(stream, 1, "png")), stream.read(1))
    assert Image.open(io.BytesIO(image_bytes(stream, 2, "png"))).format == "PNG"


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n\x1a\nbroken"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content) -> None:
    file = tmp_path / "there.png"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DataError, match=r"there\.png"):
        image_bytes(camera(ImageFiles((file,))), 0, "png")
