"""OpenEXR files: values to the bit, and refusals before memory is taken."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest

pytest.importorskip("OpenEXR")

import OpenEXR

from cosmos_lidar.bounds import set_largest_item
from cosmos_lidar.clips.exr import read_exr, write_exr
from cosmos_lidar.errors import DataError

SHAPE = (40, 96)


def values(seed: int = 0) -> np.ndarray:
    """Floats of every kind: subnormal, negative zero, NaN with a payload, infinite."""
    found = np.random.default_rng(seed).normal(0, 50, SHAPE).astype(np.float32)
    found.view(np.uint32)[0, :4] = [1, 0x80000000, 0x7FC12345, 0x7F800000]
    return found


def test_values_come_back_to_the_bit(tmp_path) -> None:
    numbers = np.random.default_rng(1).integers(0, 1 << 32, SHAPE, np.uint32)
    channels = {"Y": values(), "second.Y": values(1), "label": numbers, "B": values(2), "R": values(3)}
    write_exr(tmp_path / "a.exr", channels)
    read = read_exr(tmp_path / "a.exr", shape=SHAPE)
    assert read.keys() == channels.keys()
    for name, given in channels.items():
        assert read[name].dtype == given.dtype
        assert np.array_equal(read[name].view(np.uint32), given.view(np.uint32)), name
    write_exr(tmp_path / "b.exr", channels)
    assert (tmp_path / "a.exr").read_bytes() == (tmp_path / "b.exr").read_bytes()
    with OpenEXR.File(str(tmp_path / "a.exr"), header_only=True) as image:
        assert image.header()["compression"] == OpenEXR.ZIP_COMPRESSION


def test_other_channels_are_not_written(tmp_path) -> None:
    for channels in ({"Y": values().astype(np.float64)}, {"Y": values(), "Z": values()[:10]}, {"Y": values()[0]}, {}):
        with pytest.raises(ValueError, match="expected float32 or uint32 of one shape"):
            write_exr(tmp_path / "a.exr", channels)
    with pytest.raises(OSError, match=r"a\.exr"):
        write_exr(tmp_path / "missing" / "a.exr", {"Y": values()})


def test_half_floats_are_read(tmp_path) -> None:
    half = np.linspace(0, 120, 96, dtype=np.float16).reshape(8, 12)
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {"Y": half}) as image:
        image.write(str(tmp_path / "half.exr"))
    read = read_exr(tmp_path / "half.exr")["Y"]
    assert read.dtype == np.float32
    assert np.array_equal(read, half.astype(np.float32))


@pytest.mark.parametrize("kept", [0, 3, 200, 900, -1])
def test_truncated_files_are_refused(tmp_path, kept) -> None:
    write_exr(tmp_path / "a.exr", {"Y": values()})
    content = (tmp_path / "a.exr").read_bytes()
    (tmp_path / "a.exr").write_bytes(content[:kept])
    with pytest.raises(DataError, match=r"a\.exr"):
        read_exr(tmp_path / "a.exr")


def test_damaged_pixels_are_refused(tmp_path) -> None:
    write_exr(tmp_path / "a.exr", {"Y": np.round(values(), 0)})
    content = bytearray((tmp_path / "a.exr").read_bytes())
    content[-2000:-1000] = b"\xff" * 1000
    (tmp_path / "a.exr").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read.*a\.exr.*clip seven"):
        read_exr(tmp_path / "a.exr", clip="seven")


def promising(tmp_path, corners: tuple[int, int, int, int]):
    """A small file whose header has another data window."""
    write_exr(tmp_path / "a.exr", {"Y": values()})
    content = bytearray((tmp_path / "a.exr").read_bytes())
    place = content.index(b"dataWindow\0box2i\0") + len(b"dataWindow\0box2i\0") + 4
    content[place : place + 16] = struct.pack("<4i", *corners)
    (tmp_path / "a.exr").write_bytes(content)
    return tmp_path / "a.exr"


def test_a_small_file_that_promises_terabytes_is_refused_before_memory_is_taken(tmp_path) -> None:
    file = promising(tmp_path, (0, 0, 999_999, 999_999))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"1000000 x 1000000 would take 4\.0 TB.*a\.exr"):
        read_exr(file)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_other_shapes_and_limits(tmp_path, monkeypatch) -> None:
    write_exr(tmp_path / "a.exr", {"Y": values()})
    with pytest.raises(DataError, match="an image of 40 x 96.*Expected: 64 x 96"):
        read_exr(tmp_path / "a.exr", shape=(64, 96))
    monkeypatch.setattr("cosmos_lidar.bounds.LARGEST_ITEM", 1000)
    monkeypatch.delenv("COSMOS_LIDAR_LARGEST_ITEM", raising=False)
    with pytest.raises(DataError, match="largest-item"):
        read_exr(tmp_path / "a.exr")
    monkeypatch.setenv("COSMOS_LIDAR_LARGEST_ITEM", "1")
    set_largest_item("1MB")
    assert read_exr(tmp_path / "a.exr")["Y"].shape == SHAPE


def test_tiles_parts_and_what_is_no_file(tmp_path) -> None:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.tiledimage, "tiles": OpenEXR.TileDescription()}
    with OpenEXR.File(header, {"Y": values()}) as image:
        image.write(str(tmp_path / "tiles.exr"))
    one = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    parts = [OpenEXR.Part(dict(one), {"Y": values()}, name) for name in ("a", "b")]
    with OpenEXR.File(parts) as image:
        image.write(str(tmp_path / "parts.exr"))
    for name in ("tiles.exr", "parts.exr"):
        with pytest.raises(DataError, match=rf"tiles, deep pixels or several parts.*{name}.*scan lines in one part"):
            read_exr(tmp_path / name)
    with pytest.raises(DataError, match=r"cannot be read.*none\.exr"):
        read_exr(tmp_path / "none.exr")
    (tmp_path / "folder.exr").mkdir()
    with pytest.raises(DataError, match="no plain file"):
        read_exr(tmp_path / "folder.exr")


def test_many_channels_are_refused(tmp_path) -> None:
    small = np.zeros((2, 2), np.float32)
    write_exr(tmp_path / "a.exr", {f"c{number}": small for number in range(65)})
    with pytest.raises(DataError, match="65 channels"):
        read_exr(tmp_path / "a.exr")


def test_the_library_prints_nothing_for_broken_files(tmp_path, capfd) -> None:
    write_exr(tmp_path / "a.exr", {"Y": values()})
    (tmp_path / "a.exr").write_bytes((tmp_path / "a.exr").read_bytes()[:-500])
    with pytest.raises(DataError):
        read_exr(tmp_path / "a.exr")
    assert capfd.readouterr().out == ""  # where --json goes
