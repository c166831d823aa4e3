"""Messages of ROS 2 (Humble), serialized as CDR by the library rosbags: clouds, images, lenses, transforms."""

from __future__ import annotations

from typing import Any

import numpy as np

from cosmos_lidar.clips.poses import quaternion_of
from cosmos_lidar.clips.readers.rosbag.messages import CAMERA_INFO, CLOUD, POINT_TYPES, TRANSFORMS, message_types
from cosmos_lidar.sensors.pinhole import PinholeCamera

COMPRESSED = "sensor_msgs/msg/CompressedImage"
DISTORTION = "plumb_bob"  # k1 k2 p1 p2 k3
_POINT_CODES = {kind: code for code, kind in POINT_TYPES.items()}

# Child frame in its parent at a time: parent, child, time_us, parent_SE3_child (4, 4).
Edge = tuple[str, str, int, np.ndarray]


def cloud_message(time_us: int, frame: str, table: np.ndarray) -> memoryview:
    """Return a PointCloud2 of a structured array (N,) without gaps: a field per name."""
    fields, offset = [], 0
    for name in table.dtype.names or ():
        kind = table.dtype[name]
        code = _POINT_CODES[kind.str[1:]]
        fields.append(_make("sensor_msgs/msg/PointField", name=name, offset=offset, datatype=code, count=1))
        offset += kind.itemsize
    step = table.dtype.itemsize
    message = _make(
        CLOUD, header=_header(time_us, frame), height=1, width=len(table), fields=fields, is_bigendian=False,
        point_step=step, row_step=step * len(table), data=np.ascontiguousarray(table).view(np.uint8), is_dense=True,
    )  # fmt: skip
    return _serialized(message, CLOUD)


def image_message(time_us: int, frame: str, jpeg: bytes) -> memoryview:
    """Return a CompressedImage."""
    data = np.frombuffer(jpeg, np.uint8)
    message = _make(COMPRESSED, header=_header(time_us, frame), format="jpeg", data=data)
    return _serialized(message, COMPRESSED)


def camera_message(time_us: int, frame: str, model: PinholeCamera) -> memoryview:
    """Return a CameraInfo of images that are not rectified."""
    region = _make("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    matrix = model.matrix
    message = _make(
        CAMERA_INFO, header=_header(time_us, frame), height=int(model.height), width=int(model.width),
        distortion_model=DISTORTION, d=np.array(model.distortion or (0.0,) * 5), k=matrix.ravel(),
        r=np.eye(3).ravel(), p=np.column_stack([matrix, np.zeros(3)]).ravel(), binning_x=0, binning_y=0, roi=region,
    )  # fmt: skip
    return _serialized(message, CAMERA_INFO)


def transforms_message(edges: list[Edge]) -> memoryview:
    """Return a TFMessage."""
    return _serialized(_make(TRANSFORMS, transforms=[_transform(*edge) for edge in edges]), TRANSFORMS)


def _transform(parent: str, child: str, time_us: int, parent_SE3_child: np.ndarray) -> Any:
    x, y, z = map(float, parent_SE3_child[:3, 3])
    qw, qx, qy, qz = map(float, quaternion_of(parent_SE3_child[:3, :3]))
    transform = _make(
        "geometry_msgs/msg/Transform",
        translation=_make("geometry_msgs/msg/Vector3", x=x, y=y, z=z),
        rotation=_make("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
    )
    header = _header(time_us, parent)
    return _make("geometry_msgs/msg/TransformStamped", header=header, child_frame_id=child, transform=transform)


def _header(time_us: int, frame: str) -> Any:
    seconds, microseconds = divmod(time_us, 1_000_000)
    stamp = _make("builtin_interfaces/msg/Time", sec=seconds, nanosec=1000 * microseconds)
    return _make("std_msgs/msg/Header", stamp=stamp, frame_id=frame)


def _make(type: str, **values: Any) -> Any:
    return message_types("cdr").types[type](**values)


def _serialized(message: Any, type: str) -> memoryview:
    serialized: memoryview = message_types("cdr").serialize_cdr(message, type)
    return serialized
