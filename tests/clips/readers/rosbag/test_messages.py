from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips.readers.rosbag.messages import cloud_fields, image_pixels, parse
from cosmos_lidar.errors import DataError
from cosmos_lidar.viz.pictures import write_png

pytest.importorskip("rosbags")

from tests.clips.point_formats.encoders import table
from tests.clips.readers.rosbag.bags import START_NS, Types, pixels

TYPES = Types(False)
IMAGE = "sensor_msgs/msg/Image"


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize(("shape", "padding"), [((500,), 0), ((20, 25), 0), ((20, 25), 24)])
def test_fields_with_steps_of_rows_in_both_byte_orders(big, shape, padding):
    cloud = table().reshape(shape)
    fields = cloud_fields(TYPES.cloud(0, cloud, big, padding))
    assert fields.shape == (shape if len(shape) == 2 else None)
    for name in cloud.dtype.names:
        assert np.array_equal(fields.columns[name], cloud[name].reshape(-1)), name


def test_gaps_between_fields_and_fields_of_several_values():
    dtype = np.dtype({"names": ["x", "y", "z", "n"], "formats": ["<f8", "<f4", "<f4", ("<f4", (3,))],
                      "offsets": [8, 0, 20, 32], "itemsize": 48})  # fmt: skip
    cloud = np.zeros(9, dtype)
    cloud["x"], cloud["n"] = np.arange(9), np.arange(27).reshape(9, 3)
    fields = cloud_fields(TYPES.cloud(0, cloud))
    assert fields.columns["x"].tolist() == list(range(9))
    assert np.array_equal(fields.columns["n"], cloud["n"])


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"width": 501}, "data"),
        ({"height": 1 << 31, "width": 1 << 31}, "data"),
        ({"point_step": 4}, "field"),
        ({"point_step": 0}, "fields"),
        ({"fields": []}, "fields"),
        ({"data": np.zeros(3, np.uint8)}, "data"),
    ],
)
def test_clouds_that_cannot_be_are_refused(change, key):
    cloud = TYPES.cloud(0, table())
    for name, value in change.items():
        setattr(cloud, name, value)
    with pytest.raises(DataError, match=f"key {key}"):
        cloud_fields(cloud)


@pytest.mark.parametrize(("name", "value"), [("datatype", 9), ("offset", 1 << 20), ("count", 1 << 20), ("name", "x")])
def test_fields_that_cannot_be_are_refused(name, value):
    cloud = TYPES.cloud(0, table())
    setattr(cloud.fields[1], name, value)
    with pytest.raises(DataError, match="key field"):
        cloud_fields(cloud)


def test_an_empty_cloud_has_its_fields():
    assert len(cloud_fields(TYPES.cloud(0, table(3)[:0]))) == 0


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(("encoding", "pick"), [("rgb8", [0, 1, 2]), ("bgr8", [2, 1, 0]), ("8UC3", [2, 1, 0])])
def test_colors(encoding, pick, padding):
    assert np.array_equal(
        image_pixels(TYPES.image(0, pixels(0)[..., pick], encoding, padding=padding), IMAGE), pixels(0)
    )


def test_colors_with_alpha_and_gray_levels():
    with_alpha = np.concatenate([pixels(0)[..., ::-1], np.full((24, 32, 1), 255, np.uint8)], -1)
    assert np.array_equal(image_pixels(TYPES.image(0, with_alpha, "bgra8"), IMAGE), pixels(0))
    gray = pixels(0)[..., 0]
    assert np.array_equal(image_pixels(TYPES.image(0, gray, "mono8"), IMAGE)[..., 2], gray)
    for big in (False, True):
        deep = TYPES.image(0, gray.astype(np.uint16) * 257, "mono16", big)
        assert np.array_equal(image_pixels(deep, IMAGE)[..., 1], gray)


def test_compressed_images(tmp_path):
    write_png(tmp_path / "a.png", pixels(1))
    kind = "sensor_msgs/msg/CompressedImage"
    assert np.array_equal(image_pixels(TYPES.compressed(0, (tmp_path / "a.png").read_bytes()), kind), pixels(1))
    with pytest.raises(DataError, match="not a readable image"):
        image_pixels(TYPES.compressed(0, b"no image"), kind)


@pytest.mark.parametrize(
    ("change", "key"),
    [({"encoding": "bayer_rggb8"}, "encoding"), ({"width": 33}, "data"), ({"height": 1 << 30, "width": 32}, "data"),
     ({"height": 0}, "data")],
)  # fmt: skip
def test_images_that_cannot_be_are_refused(change, key):
    image = TYPES.image(0, pixels(0))
    for name, value in change.items():
        setattr(image, name, value)
    with pytest.raises(DataError, match=f"key {key}"):
        image_pixels(image, IMAGE)


@pytest.mark.parametrize("ros1", [True, False])
def test_truncated_messages_are_refused(ros1):
    types, encoding = Types(ros1), "ros1" if ros1 else "cdr"
    kind = "sensor_msgs/msg/PointCloud2"
    content = types.serialize(types.cloud(START_NS, table()), kind)
    for length in (0, 3, 30, len(content) // 2):
        with pytest.raises(DataError, match=r"not a sensor_msgs/msg/PointCloud2.*file a\.mcap, clip c, key /points"):
            parse(
                content[:length],
                "sensor_msgs/msg/PointCloud2",
                encoding,
                file=Path("a.mcap"),
                clip="c",
                topic="/points",
            )
