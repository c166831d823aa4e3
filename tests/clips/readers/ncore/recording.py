"""A small NCore V4 sequence, written by NCore's own writer from a synthetic drive."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cosmos_lidar.sensors import Sensor, model_of_sensor, range_map_to_points
from tests.clips.readers.synthetic import EGO_SE3_CAMERA, EGO_SE3_LIDAR, ego_pose, recorded, sensor

v4 = pytest.importorskip("ncore.data.v4", reason="extra ncore is not installed")
cbor2 = pytest.importorskip("cbor2", reason="extra ncore is not installed")
types = pytest.importorskip("ncore.data", reason="extra ncore is not installed")
Interval = pytest.importorskip("ncore.impl.common.transformations").HalfClosedInterval

LIDAR, CAMERA, PINHOLE = "lidar_roof", "camera_front", "camera_rear"
START_US = 1_700_000_000_000_000
FRAMES = 2
FTHETA = {
    "resolution": [64, 48],
    "shutter_type": "ROLLING_TOP_TO_BOTTOM",
    "external_distortion_parameters": None,
    "principal_point": [31.5, 23.0],
    "reference_poly": "ANGLE_TO_PIXELDIST",
    "pixeldist_to_angle_poly": [0.0, 0.025, 0.0, 0.0, 0.0, 0.0],
    "angle_to_pixeldist_poly": [0.0, 40.0, 0.0, -1.0, 0.0, 0.0],
    "max_angle": 1.2,
    "linear_cde": [1.0, 0.0, 0.0],
}


def png(level: int) -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.full((48, 64, 3), level, np.uint8)).save(content, "PNG")
    return content.getvalue()


def bundle(index: int, second: bool = False) -> dict[str, np.ndarray]:
    """The rays of a sweep of the drive; with ``second``, every third ray has another return 5 m behind."""
    sweep = recorded(index)
    seen = sweep.range_m > 0
    points = range_map_to_points(sweep.range_m, sensor()).astype(np.float64)
    distance = np.linalg.norm(points, axis=1)
    intensity = sweep.intensity[seen].astype(np.float32)
    rays = {
        "direction": (points / distance[:, None]).astype(np.float32),
        "timestamp_us": (START_US + index * 100_000 + sweep.time_us[seen].astype(np.int64)).astype(np.uint64),
        "model_element": np.stack(np.nonzero(seen), 1).astype(np.uint16),
        "distance_m": distance[None].astype(np.float32),
        "intensity": intensity[None],
    }
    if second:
        more = np.where(np.arange(len(distance)) % 3 == 0, distance + 5, np.nan)[None].astype(np.float32)
        rays["distance_m"] = np.concatenate([rays["distance_m"], more])
        rays["intensity"] = np.concatenate([intensity[None], np.where(np.isnan(more), np.nan, intensity / 2)])
        rays["intensity"] = rays["intensity"].astype(np.float32)
    return rays


def write(
    root: Path,
    store: str = "itar",
    second: bool = False,
    model: bool = True,
    change: Callable[[dict[str, np.ndarray]], object] = len,
    beams: Sensor | None = None,
) -> list[Path]:
    """Write the sequence in three stores, each ray bundle changed before; returns their paths."""
    stop = START_US + FRAMES * 100_000 + 1
    writer = v4.SequenceComponentGroupsWriter(root, "drive", "drive-7", Interval(START_US, stop), {}, store)
    poses = writer.register_component_writer(v4.PosesComponent.Writer, "default")
    times = np.unique(np.append(np.arange(START_US, stop, 10_000), stop - 1)).astype(np.uint64)
    rig = np.stack([ego_pose((int(time) - START_US) / 1e6) for time in times])
    poses.store_dynamic_pose("rig", "world", rig, times)
    poses.store_static_pose("world", "world_global", np.eye(4))
    poses.store_static_pose(LIDAR, "rig", EGO_SE3_LIDAR)
    poses.store_static_pose("rig", CAMERA, np.linalg.inv(EGO_SE3_CAMERA))
    poses.store_static_pose(PINHOLE, LIDAR, np.eye(4))
    lenses = writer.register_component_writer(v4.IntrinsicsComponent.Writer, "default")
    if model:
        parameters = types.RowOffsetStructuredSpinningLidarModelParameters.from_dict(model_of_sensor(beams or sensor()))
        lenses.store_lidar_intrinsics(LIDAR, parameters)
    lenses.store_camera_intrinsics(CAMERA, types.FThetaCameraModelParameters.from_dict(FTHETA))
    shutter = types.ShutterType.GLOBAL
    size, middle = np.array([64, 48], np.uint64), np.array([32.0, 24.0], np.float32)
    focal = np.array([50.0, 40.0], np.float32)
    lenses.store_camera_intrinsics(
        PINHOLE,
        types.IdealPinholeCameraModelParameters(
            resolution=size, shutter_type=shutter, external_distortion_parameters=None, principal_point=middle,
            focal_length=focal,
        ),
    )  # fmt: skip
    lidar = writer.register_component_writer(v4.LidarSensorComponent.Writer, LIDAR, LIDAR)
    cameras = [
        writer.register_component_writer(v4.CameraSensorComponent.Writer, name, "cameras") for name in (CAMERA, PINHOLE)
    ]
    for index in range(FRAMES):
        ends = np.array([START_US + index * 100_000, START_US + (index + 1) * 100_000], np.uint64)
        rays = bundle(index, second)
        change(rays)
        lidar.store_frame(**rays, frame_timestamps_us=ends, generic_data={}, generic_meta_data={})
        for number, camera in enumerate(cameras):
            camera.store_frame(png(40 * index + 10 * number + 5), "png", ends - np.uint64(30 * index), {}, {})
    return [Path(str(path)) for path in writer.finalize()]
