"""A synthetic drive in the published layouts of Waymo Open, by an encoder of its own: ``Frame`` records and parquet.

Written from the published ``dataset.proto``, ``range_image_utils.py`` and the classes of the v2 components. The lidars
are mounted as Waymo's are, turned and a little tilted; their columns look along the published azimuths.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from cosmos_lidar.clips.boxes import NO_BOXES, Boxes
from cosmos_lidar.sensors import ray_directions
from cosmos_lidar.sensors.pinhole import PinholeCamera
from cosmos_lidar.sensors.sensor import Sensor
from cosmos_lidar.synth.boxes import boxes_of
from cosmos_lidar.synth.camera import render
from cosmos_lidar.synth.drive import Drive
from cosmos_lidar.synth.lidar import cast_sweep
from cosmos_lidar.synth.rigs import mount

SEGMENT = "10023947602400723454_1120_000_1140_000"
FIRST_US = 1_553_735_853_464_000
PERIOD_US = 100_000
CAMERA_YAWS_DEG = {1: 0.0, 2: 45.0, 3: -45.0, 4: 90.0, 5: -90.0}
CAMERA_DELAYS_US = {4: 20_000, 2: 40_000, 1: 50_000, 3: 60_000, 5: 70_000}
DISTORTION = (0.04, -0.33, 0.001, -0.0015, 0.0)
TOP_ROWS, TOP_COLUMNS, SIDE_ROWS, SIDE_COLUMNS = 16, 180, 8, 60


@dataclass
class Laser:
    """Both returns of one lidar in one frame; pixels without a return are -1, as Waymo has them."""

    images: list[np.ndarray]
    projections: list[np.ndarray]
    poses: np.ndarray | None = None
    labels: list[np.ndarray | None] = field(default_factory=lambda: [None, None])
    world_points: np.ndarray | None = None
    """(rows, columns, 3) of the first return, by the drive's own formula; NaN without a return."""


@dataclass
class CameraImage:
    jpeg: bytes
    time_s: float
    world_SE3_ego: np.ndarray


@dataclass
class Frame:
    time_us: int
    world_SE3_ego: np.ndarray
    lasers: dict[int, Laser]
    images: dict[int, CameraImage]
    segment: str = SEGMENT
    boxes: Boxes = NO_BOXES
    """In the world, of road users within 40 m."""


@dataclass
class LaserCalibration:
    ego_SE3_laser: np.ndarray
    inclinations: np.ndarray  # empty for even ones
    limits: tuple[float, float]


@dataclass
class CameraCalibration:
    intrinsics: np.ndarray
    ego_SE3_camera: np.ndarray  # x forward
    size: tuple[int, int]


@dataclass
class Recording:
    frames: list[Frame]
    lasers: dict[int, LaserCalibration]
    cameras: dict[int, CameraCalibration]


def _pose(position: tuple[float, float, float], yaw_deg: float, pitch_deg: float = 0.0, roll_deg: float = 0.0):
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("ZYX", [yaw_deg, pitch_deg, roll_deg], degrees=True).as_matrix()
    pose[:3, 3] = position
    return pose


def _calibrations(top_rows: int) -> tuple[dict[int, LaserCalibration], dict[int, CameraCalibration]]:
    uneven = np.radians(-20 + 24 * (np.arange(top_rows) / (top_rows - 1)) ** 0.8)
    places = {2: ((4.0, 0.0, 0.7), 0.5), 3: ((3.2, 1.0, 0.9), 90.0), 4: ((3.2, -1.0, 0.9), -90.0),
              5: ((-1.1, 0.0, 0.5), 180.0)}  # fmt: skip
    none = np.zeros(0)
    lasers = {1: LaserCalibration(_pose((1.43, 0.0, 2.18), 147.97, 0.4, -0.3), uneven, (uneven[0], uneven[-1]))}
    for number, (position, yaw) in places.items():
        lasers[number] = LaserCalibration(_pose(position, yaw, 1.0, 0.5), none, (np.radians(-60), np.radians(20)))
    cameras = {}
    for number, yaw in CAMERA_YAWS_DEG.items():
        optical = mount((1.5, 0.0, 2.1), yaw, 1.0)
        forward_left_up = np.eye(4)
        forward_left_up[:3, :3] = np.stack([optical[:3, 2], -optical[:3, 0], -optical[:3, 1]], 1)
        forward_left_up[:3, 3] = optical[:3, 3]
        size = (96, 64) if number < 4 else (96, 44)
        intrinsics = np.array([100.0, 101.0, size[0] / 2 + 1, size[1] / 2 - 2, *DISTORTION])
        cameras[number] = CameraCalibration(intrinsics, forward_left_up, size)
    return lasers, cameras


def laser_sensor(calibration: LaserCalibration, rows: int, columns: int) -> Sensor:
    """Columns by the published formula, in axes of the laser: its ratios are (W - c - 0.5) / W."""
    correction = np.arctan2(calibration.ego_SE3_laser[1, 0], calibration.ego_SE3_laser[0, 0])
    rising = calibration.inclinations
    if not len(rising):
        low, high = calibration.limits
        rising = (0.5 + np.arange(rows)) / rows * (high - low) + low
    return Sensor("made", rising[::-1].copy(), np.zeros(rows), columns, first_azimuth_rad=np.pi - correction)


def _roll_pitch_yaw(poses: np.ndarray) -> np.ndarray:
    yaw_pitch_roll = Rotation.from_matrix(poses[..., :3, :3].reshape(-1, 3, 3)).as_euler("ZYX")
    flat = np.concatenate([yaw_pitch_roll[:, ::-1], poses[..., :3, 3].reshape(-1, 3)], 1)
    return flat.reshape(*poses.shape[:-2], 6).astype("<f4")


def _laser(drive: Drive, number: int, calibration: LaserCalibration, index: int, shape: tuple[int, int]) -> Laser:
    sensor, period = laser_sensor(calibration, *shape), PERIOD_US / 1e6
    moments = (index, index + 1) if number == 1 else (index + 0.5, index + 0.5)
    ends = np.stack([drive.scene.world_SE3_vehicle(m * period) @ calibration.ego_SE3_laser for m in moments])
    bodies = drive.scene.at((index + 0.5) * period)
    sweep = cast_sweep(sensor, bodies, drive.scene.terrain, ends, period)
    fraction = (np.arange(shape[1]) + 0.5) / shape[1]
    turn = Rotation.from_matrix(ends[0, :3, :3].T @ ends[1, :3, :3]).as_rotvec()
    world_SE3_laser = np.tile(np.eye(4), (shape[1], 1, 1))
    world_SE3_laser[:, :3, :3] = ends[0, :3, :3] @ Rotation.from_rotvec(fraction[:, None] * turn).as_matrix()
    world_SE3_laser[:, :3, 3] = ends[0, :3, 3] + fraction[:, None] * (ends[1] - ends[0])[:3, 3]
    seen, rng = sweep.range_m > 0, np.random.default_rng([number, index])
    world = np.einsum("cij,rcj->rci", world_SE3_laser[:, :3, :3], ray_directions(sensor) * sweep.range_m[..., None])
    world = np.where(seen[..., None], world + world_SE3_laser[None, :, :3, 3], np.nan)
    second = seen & (rng.random(shape) < 0.2)
    images, projections, labels = [], [], []
    for mask, more in ((seen, 0.0), (second, 1.5)):
        layers = [sweep.range_m + more, sweep.intensity, 0.1 + 0 * sweep.range_m, np.where(sweep.labels == 1, 1, -1)]
        images.append(np.where(mask[..., None], np.stack(layers, -1), -1).astype("<f4"))
        projections.append(np.where(mask[..., None], rng.integers(0, 1920, (*shape, 6)), 0).astype("<i4"))
        pair = np.stack([sweep.instance.astype(int), sweep.labels.astype(int)], -1)
        labels.append(np.where(mask[..., None], pair, 0).astype("<i4"))
    if number != 1:
        return Laser(images, projections, world_points=world)
    world_SE3_ego = world_SE3_laser @ np.linalg.inv(calibration.ego_SE3_laser)
    poses = np.broadcast_to(_roll_pitch_yaw(world_SE3_ego), (*shape, 6))
    return Laser(images, projections, poses, labels if index % 2 == 0 else [None, None], world)


def _image(drive: Drive, number: int, calibration: CameraCalibration, index: int) -> CameraImage:
    time_us = index * PERIOD_US + CAMERA_DELAYS_US[number]
    ego = drive.scene.world_SE3_vehicle(time_us / 1e6)
    fu, fv, cu, cv, *distortion = calibration.intrinsics.tolist()
    lens = PinholeCamera(fu, fv, cu - 0.5, cv - 0.5, *calibration.size, tuple(distortion))
    axes = calibration.ego_SE3_camera
    optical = axes.copy()
    optical[:3, :3] = np.stack([-axes[:3, 1], -axes[:3, 2], axes[:3, 0]], 1)
    buffer = io.BytesIO()
    Image.fromarray(render(drive.scene, lens, ego @ optical, time_us / 1e6).rgb).save(buffer, "JPEG", quality=95)
    return CameraImage(buffer.getvalue(), (FIRST_US + time_us) / 1e6, ego)


def _boxes_near(drive: Drive, time_s: float) -> Boxes:
    found, ego = boxes_of(drive.bodies(time_s)), drive.scene.world_SE3_vehicle(time_s)
    near = np.linalg.norm(found.world_SE3_box[:, :3, 3] - ego[:3, 3], axis=-1) < 40
    kinds, tracks = (tuple(np.array(values)[near].tolist()) for values in (found.kinds, found.tracks))
    return Boxes(found.world_SE3_box[near], found.size_m[near], kinds, tracks)


@lru_cache(maxsize=2)
def record_drive(
    frames: int = 3,
    seed: int = 5,
    top: tuple[int, int] = (TOP_ROWS, TOP_COLUMNS),
    side: tuple[int, int] = (SIDE_ROWS, SIDE_COLUMNS),
) -> Recording:
    """Return a drive of a car that moves and turns; (rows, columns) of TOP and of the other lidars."""
    lasers, cameras = _calibrations(top[0])
    drive = Drive(seed, laser_sensor(lasers[1], *top), frames, None)
    made = []
    for index in range(frames):
        made.append(Frame(
            FIRST_US + index * PERIOD_US,
            drive.scene.world_SE3_vehicle((index + 0.5) * PERIOD_US / 1e6),
            {number: _laser(drive, number, lasers[number], index, top if number == 1 else side) for number in lasers},
            {number: _image(drive, number, cameras[number], index) for number in cameras},
            boxes=_boxes_near(drive, (index + 0.5) * PERIOD_US / 1e6),
        ))  # fmt: skip
    return Recording(made, lasers, cameras)


# --- v1: wire format


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def varints(values: np.ndarray) -> bytes:
    """Pack (…,) int32, row by row: those of one length at a time, as there are millions in a range image."""
    flat = values.ravel()
    if flat.min(initial=0) < 0:
        return b"".join(map(varint, flat.tolist()))
    length = 1 + sum(flat >= 1 << 7 * k for k in range(1, 5))
    ends = np.cumsum(length)
    packed = np.empty(int(ends[-1]) if len(flat) else 0, np.uint8)
    for k in range(5):
        longer = length > k
        last = length[longer] == k + 1
        packed[ends[longer] - length[longer] + k] = (flat[longer] >> 7 * k) & 0x7F | np.where(last, 0, 0x80)
    return packed.tobytes()


def integer(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def double(number: int, value: float) -> bytes:
    return varint(number << 3 | 1) + struct.pack("<d", value)


def chunk(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def transform(number: int, pose: np.ndarray) -> bytes:
    return chunk(number, b"".join(double(1, value) for value in pose.ravel()))


def matrix(values: np.ndarray) -> bytes:
    """A MatrixFloat or MatrixInt32, compressed."""
    floats = values.dtype.kind == "f"
    packed = values.astype("<f4").tobytes() if floats else varints(values)
    shape = b"".join(integer(1, length) for length in values.shape)
    return zlib.compress(chunk(1, packed) + chunk(2, shape))


def encode_context(recording: Recording, segment: str) -> bytes:
    content = chunk(1, segment.encode())
    for number, one in recording.cameras.items():
        intrinsics = b"".join(double(2, value) for value in one.intrinsics)
        size = integer(4, one.size[0]) + integer(5, one.size[1]) + integer(6, 2)
        content += chunk(2, integer(1, number) + intrinsics + transform(3, one.ego_SE3_camera) + size)
    for number, one in recording.lasers.items():
        beams = b"".join(double(2, value) for value in one.inclinations)
        limits = double(3, one.limits[0]) + double(4, one.limits[1])
        content += chunk(3, integer(1, number) + beams + limits + transform(5, one.ego_SE3_laser))
    return content + chunk(4, chunk(2, b"Day"))


def encode_laser(number: int, laser: Laser) -> bytes:
    content = integer(1, number)
    for k in (0, 1):
        part = chunk(2, matrix(laser.images[k])) + chunk(3, matrix(laser.projections[k]))
        if k == 0 and laser.poses is not None:
            part += chunk(4, matrix(laser.poses))
        if laser.labels[k] is not None:
            part += chunk(6, matrix(laser.labels[k]))
        content += chunk(2 + k, part)
    return content


def encode_image(number: int, image: CameraImage) -> bytes:
    velocity = struct.pack("<Bf", 1 << 3 | 5, 9.5) + double(6, 0.01)
    shutter = double(6, 0.01) + double(7, image.time_s - 0.005) + double(8, image.time_s + 0.015)
    return (integer(1, number) + chunk(2, image.jpeg) + transform(3, image.world_SE3_ego) + chunk(4, velocity)
            + double(5, image.time_s) + shutter)  # fmt: skip


def encode_frame(recording: Recording, frame: Frame) -> bytes:
    content = chunk(1, encode_context(recording, frame.segment)) + integer(2, frame.time_us)
    content += transform(3, frame.world_SE3_ego)
    for number in (1, 2, 4, 3, 5):  # the order in real records
        if number in frame.images:
            content += chunk(4, encode_image(number, frame.images[number]))
    for number in recording.lasers:
        content += chunk(5, encode_laser(number, frame.lasers[number]) if number in frame.lasers else b"")
    return content + encode_labels(frame) + chunk(7, b"")


def encode_labels(frame: Frame) -> bytes:
    """Labels by ``label.proto``: boxes in axes of the vehicle, turned about its z alone."""
    content, types = b"", {"vehicle": 1, "person": 2, "sign": 3, "cyclist": 4}
    for world_SE3_box, size, kind, track in zip(
        frame.boxes.world_SE3_box, frame.boxes.size_m, frame.boxes.kinds, frame.boxes.tracks, strict=True
    ):
        pose = np.linalg.inv(frame.world_SE3_ego) @ world_SE3_box
        heading = np.arctan2(pose[1, 0], pose[0, 0])
        values = {1: pose[0, 3], 2: pose[1, 3], 3: pose[2, 3], 5: size[0], 4: size[1], 6: size[2], 7: heading}
        box = chunk(1, b"".join(double(number, value) for number, value in values.items()))
        content += chunk(6, box + chunk(2, double(1, 0.5)) + integer(3, types[kind]) + chunk(4, track.encode()))
    return content


def crc32c(data: bytes) -> int:
    """Bit by bit."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    value = crc32c(data)
    return struct.pack("<I", ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record(content: bytes) -> bytes:
    """One TFRecord; the checksum of the content, slow in Python, is that of its first bytes."""
    length = struct.pack("<Q", len(content))
    return length + masked(length) + content + masked(content[:64])


def write_tfrecord(path: Path, recording: Recording, frames: list[Frame] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    some = recording.frames if frames is None else frames
    path.write_bytes(b"".join(record(encode_frame(recording, frame)) for frame in some))
    return path


def without_lasers(frame: Frame) -> Frame:
    return replace(frame, lasers={})


# --- v2: parquet components


def _lists(values: np.ndarray | None) -> dict[str, object]:
    return {
        "values": None if values is None else values.ravel().tolist(),
        "shape": None if values is None else list(values.shape),
    }


def _returns(part: str, both: list[np.ndarray | None]) -> dict[str, object]:
    return {f"[{part}].range_image_return{k + 1}.{name}": value
            for k, one in enumerate(both) for name, value in _lists(one).items()}  # fmt: skip


def component_rows(recording: Recording) -> dict[str, list[dict[str, object]]]:
    """Component -> rows, as the published classes flatten them."""
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in (
        "vehicle_pose", "lidar", "lidar_pose", "lidar_segmentation", "lidar_camera_projection", "camera_image",
        "lidar_calibration", "camera_calibration")}  # fmt: skip
    for frame in recording.frames:
        key = {"key.segment_context_name": frame.segment, "key.frame_timestamp_micros": frame.time_us}
        pose = {"[VehiclePoseComponent].world_from_vehicle.transform": frame.world_SE3_ego.ravel().tolist()}
        rows["vehicle_pose"].append({**key, **pose})
        for number, laser in frame.lasers.items():
            one = {**key, "key.laser_name": number}
            rows["lidar"].append({**one, **_returns("LiDARComponent", laser.images)})
            rows["lidar_camera_projection"].append(
                {**one, **_returns("LiDARCameraProjectionComponent", laser.projections)}
            )
            if laser.poses is not None:
                rows["lidar_pose"].append({**one, **_returns("LiDARPoseComponent", [laser.poses])})
            if laser.labels[0] is not None:
                rows["lidar_segmentation"].append({**one, **_returns("LiDARSegmentationLabelComponent", laser.labels)})
        for number, image in frame.images.items():
            part = "[CameraImageComponent]"
            rows["camera_image"].append({
                **key, "key.camera_name": number, f"{part}.image": image.jpeg,
                f"{part}.pose.transform": image.world_SE3_ego.ravel().tolist(),
                f"{part}.velocity.linear_velocity.x": 9.5, f"{part}.pose_timestamp": image.time_s,
            })  # fmt: skip
    segment = {"key.segment_context_name": recording.frames[0].segment}
    for number, laser in recording.lasers.items():
        part = "[LiDARCalibrationComponent]"
        rows["lidar_calibration"].append({
            **segment, "key.laser_name": number, f"{part}.extrinsic.transform": laser.ego_SE3_laser.ravel().tolist(),
            f"{part}.beam_inclination.min": laser.limits[0], f"{part}.beam_inclination.max": laser.limits[1],
            f"{part}.beam_inclination.values": laser.inclinations.tolist() or None,
        })  # fmt: skip
    for number, camera in recording.cameras.items():
        part, names = "[CameraCalibrationComponent]", ("f_u", "f_v", "c_u", "c_v", "k1", "k2", "p1", "p2", "k3")
        rows["camera_calibration"].append({
            **segment, "key.camera_name": number,
            **{f"{part}.intrinsic.{name}": float(value) for name, value in zip(names, camera.intrinsics, strict=True)},
            f"{part}.extrinsic.transform": camera.ego_SE3_camera.ravel().tolist(), f"{part}.width": camera.size[0],
            f"{part}.height": camera.size[1], f"{part}.rolling_shutter_direction": 2,
        })  # fmt: skip
    return rows


def _arrow_type(component: str, name: str):
    import pyarrow as pa

    last = name.rsplit(".", 1)[-1]
    if name.startswith("key."):
        return {"segment_context_name": pa.string(), "frame_timestamp_micros": pa.int64()}.get(last, pa.int8())
    if last == "values" and component != "lidar_calibration":
        return pa.list_(pa.int32() if component == "lidar_segmentation" else pa.float32())
    known = {
        "values": pa.list_(pa.float64()),
        "shape": pa.list_(pa.int32(), 3),
        "transform": pa.list_(pa.float64(), 16),
        "image": pa.binary(),
        "width": pa.int32(),
        "height": pa.int32(),
        "rolling_shutter_direction": pa.int8(),
    }
    return known.get(last, pa.float64())


def write_component(path: Path, rows: list[dict[str, object]], row_group_size: int = 7) -> Path:
    """Write rows with the published column types; ``path`` is FOLDER/COMPONENT/SEGMENT.parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([(name, _arrow_type(path.parent.name, name)) for name in rows[0]])
    pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=row_group_size)
    return path


def write_components(folder: Path, recording: Recording, row_group_size: int = 7) -> Path:
    for component, rows in component_rows(recording).items():
        write_component(folder / component / f"{SEGMENT}.parquet", rows, row_group_size)
    return folder
