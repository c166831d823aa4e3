"""Messages of ROS 2, deserialized by the library that users have."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rosbags")

from rosbags.typesys import Stores, get_typestore

from cosmos_lidar.clips.poses import pose_from_quaternion
from cosmos_lidar.clips.writers._ros_messages import camera_message, cloud_message, image_message, transforms_message
from cosmos_lidar.sensors.pinhole import PinholeCamera

TIME_US = 1_700_000_000_123_456
STORE = get_typestore(Stores.ROS2_HUMBLE)


def stamp(message) -> tuple[int, int, str]:
    return message.header.stamp.sec, message.header.stamp.nanosec, message.header.frame_id


def test_clouds() -> None:
    table = np.zeros(5, [("x", "<f4"), ("ring", "<u2"), ("label", "<u1"), ("instance", "<u4"), ("t", "<i4")])
    table["x"], table["instance"] = np.arange(5) / 3, np.arange(5) * 1000
    found = STORE.deserialize_cdr(cloud_message(TIME_US, "roof", table), "sensor_msgs/msg/PointCloud2")
    assert stamp(found) == (1_700_000_000, 123_456_000, "roof")
    fields = [(one.name, one.offset, one.datatype, one.count) for one in found.fields]
    assert fields == [("x", 0, 7, 1), ("ring", 4, 4, 1), ("label", 6, 2, 1), ("instance", 7, 6, 1), ("t", 11, 5, 1)]
    assert (found.height, found.width, found.point_step, found.row_step) == (1, 5, 15, 75)
    assert found.data.tobytes() == table.tobytes()


def test_images_and_lenses() -> None:
    found = STORE.deserialize_cdr(image_message(TIME_US, "front", b"\xff\xd8jpeg"), "sensor_msgs/msg/CompressedImage")
    assert stamp(found) == (1_700_000_000, 123_456_000, "front")
    assert (found.format, found.data.tobytes()) == ("jpeg", b"\xff\xd8jpeg")
    model = PinholeCamera(700, 710, 319.5, 239.5, 640, 480, (0.1, -0.2, 0.001, 0.002, 0.03))
    found = STORE.deserialize_cdr(camera_message(TIME_US, "front", model), "sensor_msgs/msg/CameraInfo")
    assert (found.width, found.height, found.distortion_model) == (640, 480, "plumb_bob")
    assert found.d.tolist() == list(model.distortion)
    assert found.k.tolist() == [700, 0, 319.5, 0, 710, 239.5, 0, 0, 1]
    assert found.p.tolist() == [700, 0, 319.5, 0, 0, 710, 239.5, 0, 0, 0, 1, 0]
    assert found.r.tolist() == np.eye(3).ravel().tolist()
    plain = STORE.deserialize_cdr(
        camera_message(TIME_US, "front", PinholeCamera(7, 7, 3, 3, 6, 6)), "sensor_msgs/msg/CameraInfo"
    )
    assert plain.d.tolist() == [0] * 5


def test_transforms() -> None:
    pose = pose_from_quaternion([0.5, -0.5, 0.5, 0.5], [1.0, -2.0, 3.0])
    edges = [("map", "base_link", TIME_US, pose), ("base_link", "roof", 0, np.eye(4))]
    found = STORE.deserialize_cdr(transforms_message(edges), "tf2_msgs/msg/TFMessage").transforms
    assert [(one.header.frame_id, one.child_frame_id) for one in found] == [("map", "base_link"), ("base_link", "roof")]
    assert stamp(found[0])[:2] == (1_700_000_000, 123_456_000)
    turn, place = found[0].transform.rotation, found[0].transform.translation
    assert np.allclose([turn.w, turn.x, turn.y, turn.z], [0.5, -0.5, 0.5, 0.5])
    assert (place.x, place.y, place.z) == (1.0, -2.0, 3.0)
