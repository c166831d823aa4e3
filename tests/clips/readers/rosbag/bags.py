"""Bags that the tests write through rosbags: a drive with a lidar, a camera and transforms, in each of the storages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.clips.point_formats.encoders import table

START_NS = 1_700_000_000_000_000_000
STEP_NS = 100_000_000
SWEEPS = 3
LIDAR, CAMERA, INFO = "/lidar/points", "/cam/image_raw", "/cam/camera_info"
KINDS = ("mcap", "mcap_zstd", "sqlite3", "ros1", "ros1_lz4", "ros1_bz2")
POINT_TYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}
CAMERA_IN_BASE = (1.0, 0.0, 1.5)
LIDAR_IN_BASE = (0.0, 0.0, 2.0)


class Types:
    """Messages of ROS 1 or ROS 2 by the same names."""

    def __init__(self, ros1: bool) -> None:
        from rosbags.typesys import Stores, get_types_from_msg, get_typestore

        self.ros1 = ros1
        self.store = get_typestore(Stores.ROS1_NOETIC if ros1 else Stores.ROS2_HUMBLE)
        if ros1:
            definition = "geometry_msgs/TransformStamped[] transforms"
            self.store.register(get_types_from_msg(definition, "tf2_msgs/msg/TFMessage"))

    def make(self, type: str, **values: Any) -> Any:
        return self.store.types[type](**values)

    def header(self, time_ns: int, frame: str) -> Any:
        stamp = self.make("builtin_interfaces/msg/Time", sec=time_ns // 10**9, nanosec=time_ns % 10**9)
        return self.make("std_msgs/msg/Header", stamp=stamp, frame_id=frame, **({"seq": 7} if self.ros1 else {}))

    def serialize(self, message: Any, type: str, little: bool = True) -> bytes:
        if self.ros1:
            return bytes(self.store.serialize_ros1(message, type))
        return bytes(self.store.serialize_cdr(message, type, little_endian=little))

    def cloud(self, time_ns: int, points: np.ndarray, big: bool = False, padding: int = 0, frame: str = "lidar") -> Any:
        """A PointCloud2 of a structured array (N,) or (height, width), rows padded."""
        rows = points.reshape(1, -1) if points.ndim == 1 else points
        fields = []
        for name in points.dtype.names:
            kind, offset = points.dtype.fields[name]
            code = POINT_TYPES[kind.base.str[1:]]
            count = int(np.prod(kind.shape)) if kind.shape else 1
            fields.append(self.make("sensor_msgs/msg/PointField", name=name, offset=offset, datatype=code, count=count))
        ordered = rows.astype(points.dtype.newbyteorder(">")) if big else rows
        data = b"".join(row.tobytes() + bytes(padding) for row in ordered)
        return self.make(
            "sensor_msgs/msg/PointCloud2", header=self.header(time_ns, frame), height=rows.shape[0],
            width=rows.shape[1], fields=fields, is_bigendian=big, point_step=points.dtype.itemsize,
            row_step=rows.shape[1] * points.dtype.itemsize + padding, data=np.frombuffer(data, np.uint8), is_dense=True,
        )  # fmt: skip

    def image(
        self, time_ns: int, pixels: np.ndarray, encoding: str = "rgb8", big: bool = False, padding: int = 0
    ) -> Any:
        height, width = pixels.shape[:2]
        rows = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<"))
        data = b"".join(row.tobytes() + bytes(padding) for row in rows)
        return self.make(
            "sensor_msgs/msg/Image", header=self.header(time_ns, "camera"), height=height, width=width,
            encoding=encoding, is_bigendian=int(big), step=len(data) // height, data=np.frombuffer(data, np.uint8),
        )  # fmt: skip

    def compressed(self, time_ns: int, content: bytes) -> Any:
        data = np.frombuffer(content, np.uint8)
        header = self.header(time_ns, "camera")
        return self.make("sensor_msgs/msg/CompressedImage", header=header, format="png", data=data)

    def camera_info(self, time_ns: int, width: int, height: int, distortion: tuple[float, ...] = ()) -> Any:
        roi = self.make("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        k = np.array([50.0, 0, width / 2, 0, 60, height / 2, 0, 0, 1])
        matrices = {"d": np.array(distortion), "k": k, "r": np.eye(3).ravel(), "p": np.zeros(12)}
        if self.ros1:
            matrices = {name.upper(): values for name, values in matrices.items()}
        return self.make(
            "sensor_msgs/msg/CameraInfo", header=self.header(time_ns, "camera"), height=height, width=width,
            distortion_model="plumb_bob", binning_x=0, binning_y=0, roi=roi, **matrices,
        )  # fmt: skip

    def _motion(self, xyz: tuple[float, float, float], xyzw: tuple[float, ...]) -> dict[str, Any]:
        x, y, z = map(float, xyz)
        qx, qy, qz, qw = map(float, xyzw)
        return {
            "vector": self.make("geometry_msgs/msg/Vector3", x=x, y=y, z=z),
            "point": self.make("geometry_msgs/msg/Point", x=x, y=y, z=z),
            "rotation": self.make("geometry_msgs/msg/Quaternion", x=qx, y=qy, z=qz, w=qw),
        }

    def transforms(self, *edges: tuple[int, str, str, tuple, tuple]) -> Any:
        """A TFMessage of (ns, parent, child, xyz, quaternion xyzw)."""
        found = []
        for time_ns, parent, child, xyz, xyzw in edges:
            motion = self._motion(xyz, xyzw)
            transform = self.make(
                "geometry_msgs/msg/Transform", translation=motion["vector"], rotation=motion["rotation"]
            )
            header = self.header(time_ns, parent)
            stamped = {"header": header, "child_frame_id": child, "transform": transform}
            found.append(self.make("geometry_msgs/msg/TransformStamped", **stamped))
        return self.make("tf2_msgs/msg/TFMessage", transforms=found)

    def odometry(self, time_ns: int, xyz: tuple, xyzw: tuple, frames: tuple[str, str] = ("odom", "base_link")) -> Any:
        motion, zero = self._motion(xyz, xyzw), self._motion((0, 0, 0), (0, 0, 0, 1))
        pose = self.make("geometry_msgs/msg/Pose", position=motion["point"], orientation=motion["rotation"])
        twist = self.make("geometry_msgs/msg/Twist", linear=zero["vector"], angular=zero["vector"])
        return self.make(
            "nav_msgs/msg/Odometry", header=self.header(time_ns, frames[0]), child_frame_id=frames[1],
            pose=self.make("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36)),
            twist=self.make("geometry_msgs/msg/TwistWithCovariance", twist=twist, covariance=np.zeros(36)),
        )  # fmt: skip


IDENTITY = (0, 0, 0, 1)
OPTICAL = (-0.5, 0.5, -0.5, 0.5)  # x right, y down, z forward in x forward, y left, z up
Record = tuple[str, str, int, Any]  # topic, type, ns of the recording, message


def drive(types: Types, big: bool = False) -> list[Record]:
    """A drive along x at 5 m/s: sweeps and images, transforms at both ends, static ones of the sensors."""
    records: list[Record] = []
    tf = "tf2_msgs/msg/TFMessage"
    mounted = types.transforms(
        (0, "base_link", "lidar", LIDAR_IN_BASE, IDENTITY), (0, "base_link", "camera", CAMERA_IN_BASE, OPTICAL)
    )
    records.append(("/tf_static", tf, START_NS, mounted))
    for time_ns, x in ((START_NS - STEP_NS, -0.5), (START_NS + 5 * STEP_NS, 2.5)):
        records.append(("/tf", tf, time_ns, types.transforms((time_ns, "odom", "base_link", (x, 0, 0), IDENTITY))))
    info = types.camera_info(START_NS, 32, 24)
    records.append((INFO, "sensor_msgs/msg/CameraInfo", START_NS, info))
    for index in range(SWEEPS):
        time_ns = START_NS + index * STEP_NS
        cloud = types.cloud(time_ns, table(seed=index), big)
        records.append((LIDAR, "sensor_msgs/msg/PointCloud2", time_ns + 40_000_000, cloud))
        image = types.image(time_ns + 50_000_000, pixels(index))
        records.append((CAMERA, "sensor_msgs/msg/Image", time_ns + 60_000_000, image))
    return records


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)


def write_bag(folder: Path, records: list[Record], types: Types, kind: str = "mcap", little: bool = True) -> Path:
    """Write records; returns the folder of a bag of ROS 2, or the file of ROS 1."""
    if kind.startswith("ros1"):
        from rosbags.rosbag1 import Writer as Writer1

        folder.parent.mkdir(parents=True, exist_ok=True)
        writer = Writer1(folder.with_suffix(".bag"))
        if kind != "ros1":
            writer.set_compression(getattr(Writer1.CompressionFormat, kind[5:].upper()))
    else:
        from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

        folder.parent.mkdir(parents=True, exist_ok=True)
        plugin = StoragePlugin.MCAP if kind.startswith("mcap") else StoragePlugin.SQLITE3
        writer = Writer(folder, version=9, storage_plugin=plugin)
        if kind == "mcap_zstd":
            writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        if kind == "sqlite3_message":
            writer.set_compression(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
    with writer:
        connections: dict[str, Any] = {}
        for topic, type, time_ns, message in records:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, type, typestore=types.store)
            writer.write(connections[topic], time_ns, types.serialize(message, type, little))
    return folder.with_suffix(".bag") if kind.startswith("ros1") else folder


def write_drive(folder: Path, kind: str = "mcap", *, big: bool = False, little: bool = True) -> Path:
    types = Types(kind.startswith("ros1"))
    return write_bag(folder, drive(types, big), types, kind, little)
