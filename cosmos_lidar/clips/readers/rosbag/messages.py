"""Messages of bags: clouds and images as arrays, through rosbags' types of ROS 2 Humble and ROS 1 Noetic."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.bounds import expect_size
from cosmos_lidar.clips.images import read_image
from cosmos_lidar.clips.point_fields import PointFields
from cosmos_lidar.errors import DataError
from cosmos_lidar.extras import require

CLOUD = "sensor_msgs/msg/PointCloud2"
IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
TRANSFORMS = "tf2_msgs/msg/TFMessage"
OLD_TRANSFORMS = "tf/msg/tfMessage"  # of ROS 1, with the same fields
ODOMETRY = "nav_msgs/msg/Odometry"
IMAGE_ENCODINGS = {"rgb8": (3, "u1"), "bgr8": (3, "u1"), "rgba8": (4, "u1"), "bgra8": (4, "u1"), "mono8": (1, "u1"),
                   "mono16": (1, "u2"), "8UC3": (3, "u1"), "8UC1": (1, "u1")}  # fmt: skip
POINT_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
MOST_FIELDS, _MOST_VALUES = 256, 1 << 12


@lru_cache(maxsize=2)
def message_types(encoding: str) -> Any:
    """Return the message types of ROS 2 Humble (``cdr``) or ROS 1 Noetic (``ros1``).

    Raises:
        UserError: rosbags is not installed.
    """
    module = require("rosbags.typesys")
    if encoding == "cdr":
        return module.get_typestore(module.Stores.ROS2_HUMBLE)
    types = module.get_typestore(module.Stores.ROS1_NOETIC)
    if TRANSFORMS not in types.types:
        types.register(module.get_types_from_msg("geometry_msgs/TransformStamped[] transforms", TRANSFORMS))
    return types


def parse(content: bytes, type: str, encoding: str, *, file: Path, clip: str | None = None, topic: str = "") -> Any:
    """Return a message as an object with its fields.

    Args:
        content: serialized.
        type: of the message.
        encoding: ``cdr`` or ``ros1``.
        file: for messages.
        clip: for messages.
        topic: for messages.

    Raises:
        DataError: it is truncated, or of another type.
        UserError: rosbags is not installed.
    """
    types = message_types(encoding)
    kind = TRANSFORMS if type == OLD_TRANSFORMS else type
    try:
        return types.deserialize_ros1(content, kind) if encoding == "ros1" else types.deserialize_cdr(content, kind)
    except Exception as error:  # generated code runs over the end with errors of struct, numpy and of its own
        problem = f"not a {type}: {error.__class__.__name__} {error!s:.160}"
        raise DataError(problem, file=file, clip=clip, key=topic, wanted="a complete message") from error


def cloud_fields(message: Any) -> PointFields:
    """Return the fields of a PointCloud2: by their offsets, in its byte order, with its steps of points and rows.

    Raises:
        DataError: fields that do not fit into a point, unknown types, or fewer bytes than stated.
    """
    height, width, step = int(message.height), int(message.width), int(message.point_step)
    row_step = int(message.row_step) if height > 1 else width * step
    dtype = point_dtype(message, step)
    data = np.asarray(message.data, np.uint8)
    needed = (height - 1) * row_step + width * step if height and width else 0
    if row_step < width * step or len(data) < needed:
        problem = f"{len(data)} bytes for {height} x {width} points of {step} bytes, rows of {row_step}"
        raise DataError(problem, key="data", wanted=f"{needed} bytes")
    if not needed:
        return PointFields({name: np.empty(0, dtype[name]) for name in dtype.names or ()})
    table = np.ndarray((height, width), dtype, np.ascontiguousarray(data).data, 0, (row_step, step))
    columns = {}
    for name in dtype.names or ():
        values = table[name]
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
        columns[name] = values.reshape(height * width, *values.shape[2:])
    return PointFields(columns, (height, width) if min(height, width) > 1 else None)


def point_dtype(message: Any, step: int) -> np.dtype:
    """Return the dtype of a point of a PointCloud2, ``step`` bytes long.

    Raises:
        DataError: fields that do not fit into a point, or unknown types.
    """
    order, names, formats, offsets = ">" if message.is_bigendian else "<", [], [], []
    if not 0 < len(message.fields) <= MOST_FIELDS or not 0 < step <= 1 << 16:
        raise DataError(
            f"{len(message.fields)} fields, points of {step} bytes", key="fields", wanted="fields of a point"
        )
    for one in message.fields:
        kind, count = POINT_TYPES.get(int(one.datatype)), int(one.count) or 1
        size = 0 if kind is None else np.dtype(kind).itemsize * count
        if kind is None or count > _MOST_VALUES or one.name in names or one.offset + size > step:
            problem = f"datatype {one.datatype} x {one.count} at byte {one.offset} of {step}"
            raise DataError(problem, key=f"field {one.name}", wanted="datatypes 1 to 8 inside the point")
        names.append(one.name)
        formats.append((order + kind, (count,)) if count > 1 else order + kind)
        offsets.append(int(one.offset))
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": step})


def image_pixels(message: Any, type: str) -> np.ndarray:
    """Return (H, W, 3) uint8 RGB of an Image or CompressedImage; 16-bit gray levels are divided by 257.

    Raises:
        DataError: an unknown encoding, fewer bytes than stated, or no readable JPEG or PNG.
    """
    if type.endswith("CompressedImage"):
        content = np.asarray(message.data, np.uint8).tobytes()
        return read_image(content)
    height, width, row_step, encoding = int(message.height), int(message.width), int(message.step), message.encoding
    if encoding not in IMAGE_ENCODINGS:
        known = ", ".join(IMAGE_ENCODINGS)
        raise DataError(f"images of encoding {encoding!r:.40}", key="encoding", wanted=f"one of {known}")
    channels, kind = IMAGE_ENCODINGS[encoding]
    dtype = np.dtype((">" if message.is_bigendian else "<") + kind)
    data, needed = np.asarray(message.data, np.uint8), height * row_step
    expect_size(height * width * 3, "an image", key="data")
    if not height * width or row_step < width * channels * dtype.itemsize or len(data) < needed:
        problem = f"{len(data)} bytes for {height} x {width} {encoding} with rows of {row_step}"
        raise DataError(problem, key="data", wanted=f"{needed} bytes")
    rows = np.ascontiguousarray(data[:needed]).reshape(height, row_step)[:, : width * channels * dtype.itemsize]
    pixels = np.ascontiguousarray(rows).view(dtype).reshape(height, width, channels)
    if kind == "u2":
        pixels = np.round(pixels / 257.0).astype(np.uint8)
    if channels == 1:
        return np.repeat(pixels.astype(np.uint8), 3, axis=-1)
    return np.ascontiguousarray(pixels[..., 2::-1] if encoding in ("bgr8", "bgra8", "8UC3") else pixels[..., :3])
