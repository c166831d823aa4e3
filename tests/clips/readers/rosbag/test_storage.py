from __future__ import annotations

import struct

import pytest

from cosmos_lidar.clips.readers.rosbag.storage import message_type, parse_head

pytest.importorskip("rosbags")

from tests.clips.point_formats.encoders import table
from tests.clips.readers.rosbag.bags import START_NS, Types, pixels


@pytest.mark.parametrize("frame", ["", "a", "lidar", "front_left"])
@pytest.mark.parametrize("little", [True, False])
@pytest.mark.parametrize("ros1", [True, False])
def test_heads_of_clouds_and_images(ros1, little, frame):
    types, encoding = Types(ros1), "ros1" if ros1 else "cdr"
    cloud = types.cloud(START_NS + 5, table().reshape(20, 25), frame=frame)
    head = parse_head(types.serialize(cloud, "sensor_msgs/msg/PointCloud2", little)[:200], encoding)
    assert (head.stamp_ns, head.frame, head.size) == (START_NS + 5, frame, (20, 25))
    image = types.image(START_NS, pixels(0), "rgb8")
    head = parse_head(types.serialize(image, "sensor_msgs/msg/Image", little)[:200], encoding)
    assert (head.stamp_ns, head.frame, head.size, head.encoding) == (START_NS, "camera", (24, 32), "rgb8")


@pytest.mark.parametrize(
    "content", [b"", b"\0\1\0\0", b"\0\1\0\0" + bytes(8), b"\0\1\0\0" + struct.pack("<3I", 0, 0, 999)]
)
def test_short_heads_are_refused(content):
    for encoding in ("cdr", "ros1"):
        with pytest.raises(ValueError, match="a header of"):
            parse_head(content, encoding)


def test_types_of_ros_1_have_the_names_of_ros_2():
    assert message_type("sensor_msgs/Image") == message_type("sensor_msgs/msg/Image") == "sensor_msgs/msg/Image"
    assert message_type("odd") == "odd"
