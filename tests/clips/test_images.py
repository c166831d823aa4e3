"""Images as a viewer shows them: EXIF orientations, 16 bits, levels without a known white."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from cosmos_lidar.clips.files import ImageFiles
from cosmos_lidar.clips.footage import open_footage
from cosmos_lidar.clips.images import image_size, read_image, to_rgb
from cosmos_lidar.errors import DataError

RAMP = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (48, 1))


def of_footage(file):
    return next(open_footage(file).blocks())[0]


@pytest.mark.parametrize("read", [read_image, of_footage, lambda file: ImageFiles((file,))(0)])
def test_16_bits_are_scaled(tmp_path, read):
    Image.fromarray(RAMP).save(tmp_path / "deep.png")
    Image.fromarray((RAMP >> 8).astype(np.uint8)).save(tmp_path / "plain.png")
    deep, plain = (read(tmp_path / f"{name}.png").astype(int) for name in ("deep", "plain"))
    assert deep.shape == (48, 64, 3)
    assert np.abs(deep - plain).max() <= 1


def test_big_endian_and_wide_integers():
    big = Image.frombytes("I;16B", RAMP.shape[::-1], RAMP.astype(">u2").tobytes())
    for image in (big, Image.fromarray(RAMP.astype(np.int32))):
        assert np.abs(to_rgb(image)[0, :, 0].astype(int) - (RAMP[0] >> 8)).max() <= 1
    with pytest.raises(DataError, match="gray levels from 0 to 458745: which of them is white"):
        to_rgb(Image.fromarray(RAMP.astype(np.int32) * 7))


def test_floats_are_refused_by_name():
    with pytest.raises(DataError, match="floating-point pixels"):
        to_rgb(Image.fromarray(RAMP.astype(np.float32)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_upright(tmp_path, orientation):
    shown = np.zeros((32, 48, 3), np.uint8)
    shown[:8, :16] = 255
    # what the orientation undoes: rows and columns exchanged from 5 on, then mirrored
    stored = shown.transpose(1, 0, 2) if orientation > 4 else shown
    stored = stored[:: -1 if orientation in (3, 4, 6, 7) else 1, :: -1 if orientation in (2, 3, 7, 8) else 1]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), shown)
    assert image_size(tmp_path / "a.png") == (48, 32)
    assert np.array_equal(read_image((tmp_path / "a.png").read_bytes()), shown)


def test_damaged_images(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[:60])
    with pytest.raises(DataError, match="not a readable image.*a.png, clip drive"):
        read_image(tmp_path / "a.png", clip="drive")
    with pytest.raises(DataError, match="not a readable image.*key front.jpg"):
        read_image(b"nothing", key="front.jpg")
    with pytest.raises(DataError, match="not a readable image"):
        image_size(b"nothing")
