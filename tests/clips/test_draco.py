from __future__ import annotations

import struct

import numpy as np
import pytest

from cosmos_lidar.clips.draco import decode_cloud
from cosmos_lidar.errors import DataError

DracoPy = pytest.importorskip("DracoPy")


def encoded(count: int = 300) -> tuple[bytes, np.ndarray]:
    points = np.random.default_rng(0).uniform(-50, 50, (count, 3)).astype(np.float32)
    ids = np.arange(count)
    columns = {"intensity": ids % 200, "timestamp": ids + 70_000, "model_element": np.stack([ids % 32, ids], 1)}
    dtypes = {"intensity": np.uint8, "timestamp": np.uint32, "model_element": np.uint16}
    named = {name: values.reshape(count, -1).astype(dtypes[name]) for name, values in columns.items()}
    return DracoPy.encode(points, quantization_bits=18, generic_attributes=named), points


def test_points_and_attributes_come_back_together():
    content, points = encoded()
    found, attributes = decode_cloud(content)
    assert found.dtype == np.float32
    order = attributes["timestamp"].astype(np.int64) - 70_000
    assert sorted(order) == list(range(len(points)))
    assert np.abs(found - points[order]).max() < 100 / 2**18
    assert np.array_equal(attributes["intensity"], order % 200)
    assert np.array_equal(attributes["model_element"], np.stack([order % 32, order], 1))


@pytest.mark.parametrize(
    ("name", "count", "names"),
    [
        ("pc_color.drc", 7733, {"color"}),
        ("point_cloud_no_qp.drc", 21, {"color"}),
        ("cube_pc.drc", 24, {"tex_coord", "normal"}),  # bitstream 1.1
    ],
)
def test_published_clouds_decode(test_data, name, count, names):
    points, attributes = decode_cloud((test_data / "draco" / name).read_bytes())
    assert points.shape == (count, 3)
    assert set(attributes) == names
    assert all(len(values) == count for values in attributes.values())


def test_the_corners_of_the_cube_are_those_of_a_cube(test_data):
    points, attributes = decode_cloud((test_data / "draco" / "cube_pc.drc").read_bytes())
    assert len(np.unique(points, axis=0)) == 8
    assert np.allclose(np.linalg.norm(attributes["normal"], axis=1), 1, atol=1e-3)


def test_a_mesh_is_refused(test_data):
    file = test_data / "draco" / "car.drc"
    with pytest.raises(DataError, match="this is a mesh.*file .*car.drc, clip c, key geometry type"):
        decode_cloud(file.read_bytes(), file, "c")


def test_every_truncation_is_refused():
    content = encoded(20)[0]
    for length in range(len(content)):
        with pytest.raises(DataError):
            decode_cloud(content[:length])


def at_count(content: bytes) -> int:
    """The place of the number of points: behind the metadata it is there twice, the second time in the kd-tree."""
    return content.index(struct.pack("<I", 20))


@pytest.mark.parametrize(
    ("count", "problem"), [(0, "0 points"), (0x7FFFFFFF, "would take"), (0xFFFFFFFF, "4294967295 points")]
)
def test_a_hostile_number_of_points_is_refused_before_decoding(count, problem):
    content = encoded(20)[0]
    at = at_count(content)
    with pytest.raises(DataError, match=f"{problem}.*number of points"):
        decode_cloud(content[:at] + struct.pack("<I", count) + content[at + 4 :])


def header(*, version=(2, 3), geometry=0, method=1, flags=0, rest=b"") -> bytes:
    return b"DRACO" + bytes([*version, geometry, method]) + struct.pack("<H", flags) + rest


@pytest.mark.parametrize(
    ("content", "key"),
    [
        (b"PLY", "magic"),
        (header(version=(3, 0)), "version"),
        (header(geometry=7), "geometry type"),
        (header(method=9), "encoding"),
        (header(rest=b"\x05\x00\x00\x00\x01\x00"), "attributes"),
        (header(rest=b"\x05\x00\x00\x00\x01\x01\x00\x63\x03\x00\x00"), "attributes"),
        (header(rest=b"\x05\x00\x00\x00\x01\xff\xff\xff\xff\x0f"), "attributes"),
        (header(rest=b"\x05\x00\x00\x00\x01\xff\xff\xff\xff\xff\xff"), "header"),
        (header(flags=0x8000, rest=b"\x00" + b"\x00\x01\x00" * 40), "metadata"),
        (header(flags=0x8000, rest=b"\x00\x01\x02ab\xff\xff\xff\xff\x0f"), "header"),
    ],
)
def test_broken_headers_are_refused(content, key):
    with pytest.raises(DataError, match=f"key {key}"):
        decode_cloud(content)


def test_what_the_library_refuses_is_a_data_error():
    content = bytearray(encoded(20)[0])
    content[at_count(bytes(content)) + 60 :] = b"\xff" * 5
    with pytest.raises(DataError, match=r"does not decode it.*clip c"):
        decode_cloud(bytes(content), clip="c")
