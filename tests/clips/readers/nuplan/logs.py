"""A log of nuPlan in the published layouts, written here: merged clouds, a database, pickled frames of NAVSIM."""

from __future__ import annotations

import math
import pickle
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.sensors.sensor import load_sensor
from tests.clips.readers.test_kitti import image

LOG = "2021.05.12.22.00.38_veh-35_01008_01518"
FIRST_US, STEP_US = 1_620_857_890_000_000, 50_003
SPEED, TURN = 8.0, 0.15  # meters and radians per second
CORNER = np.array([664_433.25, 3_997_680.5, 606.75])  # of the map (UTM), where the drive starts
HEADING = 0.6
MOUNTS = {0: (np.array([1.42, -0.02, 1.64]), 0.012, -0.02), 1: (np.array([2.2, 0.9, 1.1]), 0.0, 0.05)}
K = [[80.0, 0.0, 48.0], [0.0, 81.0, 40.0], [0.0, 0.0, 1.0]]
DISTORTION = [-0.356, 0.172, -0.002, 0.0005, -0.05]
# Camera x right, y down, z forward, 1.6 m ahead of the rear axle and turned to the left by 20 degrees.
CAMERA_M, CAMERA_YAW = np.array([1.6, 0.1, 1.5]), math.radians(20.0)


def about(axis: int, angle: float) -> np.ndarray:
    turned, (i, j) = np.eye(3), ((1, 2), (2, 0), (0, 1))[axis]
    turned[i, i] = turned[j, j] = math.cos(angle)
    turned[i, j], turned[j, i] = -math.sin(angle), math.sin(angle)
    return turned


def ego(seconds: float) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """Rotation, place and quaternion w x y z of the vehicle on a circle to the left, in the map."""
    angle = HEADING + TURN * seconds
    way = np.array([math.sin(angle) - math.sin(HEADING), math.cos(HEADING) - math.cos(angle), 0.0]) * SPEED / TURN
    return about(2, angle), CORNER + way, [math.cos(angle / 2), 0.0, 0.0, math.sin(angle / 2)]


def camera_rotation() -> np.ndarray:
    return about(2, CAMERA_YAW) @ np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])


def quaternion(turned: np.ndarray) -> list[float]:
    """w x y z of a rotation by less than half a turn."""
    w = math.sqrt(1.0 + np.trace(turned)) / 2.0
    x, y, z = turned[2, 1] - turned[1, 2], turned[0, 2] - turned[2, 0], turned[1, 0] - turned[0, 1]
    return [w, float(x / (4 * w)), float(y / (4 * w)), float(z / (4 * w))]


def seen(number: int, seconds: float, rays: int = 120) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What a lidar sees of a yard with walls that stand in the map: points of the lidar, of the vehicle, and rings."""
    rng = np.random.default_rng([number, round(seconds * 1000)])
    mounted, roll, pitch = MOUNTS[number]
    turned = about(1, pitch) @ about(0, roll)
    beams = load_sensor("hesai_pandar40p").row_elevations_rad[::-1]  # rings count from the lowest
    ring = np.tile(np.arange(len(beams)), rays)
    azimuth, elevation = rng.uniform(-np.pi, np.pi, len(ring)), beams[ring]
    flat = np.cos(elevation)
    lidar = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], 1)
    rotation, place, _ = ego(seconds)
    origin, world = rotation @ mounted + place - CORNER, lidar @ (rotation @ turned).T
    with np.errstate(divide="ignore"):
        walls = np.concatenate([(side - origin[:2]) / world[:, :2] for side in ([45.0, 38.0], [-25.0, -30.0])], 1)
        ground = np.where(world[:, 2] < 0, -(origin[2] + 0.3) / world[:, 2], np.inf)
    far = np.minimum(np.where(walls > 0, walls, np.inf).min(1), ground)
    points = lidar * far[:, None]
    return points, points @ turned.T + mounted, ring


def cloud(seconds: float, numbers: tuple[int, ...] = (0, 1)) -> dict[str, np.ndarray]:
    """The fields of a merged cloud, in axes of the vehicle."""
    parts = [seen(number, seconds) for number in numbers]
    xyz = np.concatenate([points for _, points, _ in parts]).astype("<f4")
    ring = np.concatenate([ring for _, _, ring in parts])
    lidar = np.repeat(numbers, [len(ring) for _, _, ring in parts])
    return {"x": xyz[:, 0], "y": xyz[:, 1], "z": xyz[:, 2], "intensity": (ring % 200).astype("<u1"),
            "lidar_info": lidar.astype("<u1"), "ring": ring.astype("<u1")}  # fmt: skip


def write_cloud(file: Path, fields: dict[str, np.ndarray]) -> None:
    """A binary PCD file as the published writer makes it, with what lies behind its points in the published files."""
    columns = list(fields.values())
    table = np.empty(len(columns[0]), [(name, values.dtype) for name, values in fields.items()])
    for name, values in fields.items():
        table[name] = values
    kinds = {"f": "F", "u": "U", "i": "I"}
    head = [
        "# .PCD v.7 - Point Cloud Data file format", "VERSION .7", f"FIELDS {' '.join(fields)}",
        f"SIZE {' '.join(str(one.dtype.itemsize) for one in columns)}",
        f"TYPE {' '.join(kinds[one.dtype.kind] for one in columns)}", f"COUNT {' '.join('1' for _ in columns)}",
        f"WIDTH {len(table)}", "HEIGHT 1", "VIEWPOINT 0 0 0 1 0 0 0", f"POINTS {len(table)}", "DATA binary",
    ]  # fmt: skip
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(("\n".join(head) + "\n").encode() + table.tobytes() + b"\0" * 37)


def token(number: int) -> bytes:
    return (0x5AEE37CE29665F1B + number).to_bytes(8, "big")


def write_database(file: Path, frames: int, rotation: list[float] | None = None) -> Path:
    """The tables of the published schema that lidars, cameras and poses are in; poses every 10 ms."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as database:
        for table, columns in (
            ("log", "token BLOB, vehicle_name VARCHAR(64), logfile VARCHAR(64)"),
            ("ego_pose", "token BLOB, timestamp INTEGER, x FLOAT, y FLOAT, z FLOAT, qw FLOAT, qx FLOAT, qy FLOAT, "
                         "qz FLOAT, vx FLOAT, log_token BLOB"),
            ("lidar", "token BLOB, log_token BLOB, channel VARCHAR(64), model VARCHAR(64), translation BLOB, "
                      "rotation BLOB"),
            ("lidar_pc", "token BLOB, next_token BLOB, ego_pose_token BLOB, lidar_token BLOB, scene_token BLOB, "
                         "filename VARCHAR(128), timestamp INTEGER"),
            ("camera", "token BLOB, log_token BLOB, channel VARCHAR(64), model VARCHAR(64), translation BLOB, "
                       "rotation BLOB, intrinsic BLOB, distortion BLOB, width INTEGER, height INTEGER"),
            ("image", "token BLOB, ego_pose_token BLOB, camera_token BLOB, filename_jpg VARCHAR(128), "
                      "timestamp INTEGER"),
        ):  # fmt: skip
            database.execute(f"CREATE TABLE {table} ({columns})")
        for k in range(-5, 5 * frames + 12):
            seconds = 0.01 * k
            _, place, (w, x, y, z) = ego(seconds)
            row = (token(k + 10**6), FIRST_US + 10_000 * k, *place.tolist(), w, x, y, z, SPEED, token(1))
            database.execute("INSERT INTO ego_pose VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        identity = pickle.dumps([0.0, 0.0, 0.0]), pickle.dumps(rotation or [1.0, 0.0, 0.0, 0.0])
        database.execute(
            "INSERT INTO lidar VALUES (?, ?, 'MergedPointCloud', '', ?, ?)", (token(2), token(1), *identity)
        )
        for k in range(frames):
            row = (
                token(100 + k),
                None,
                token(10**6 + 5 * k),
                token(2),
                token(3),
                cloud_name(k),
                FIRST_US + STEP_US * k,
            )
            database.execute("INSERT INTO lidar_pc VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        lens = [CAMERA_M.tolist(), quaternion(camera_rotation()), K, DISTORTION]
        row = (token(7), token(1), "CAM_F0", "", *map(pickle.dumps, lens), 96, 80)
        database.execute("INSERT INTO camera VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        for k in range(0, frames, 2):
            row = (token(200 + k), token(10**6), token(7), image_name(k), FIRST_US + STEP_US * k + 12_000)
            database.execute("INSERT INTO image VALUES (?, ?, ?, ?, ?)", row)
        database.commit()
    return file


def cloud_name(k: int) -> str:
    """Names are random tokens: their order is none."""
    return f"{LOG}/MergedPointCloud/{(0x9E3779B97F4A7C15 * (k + 1)) % 2**64:016x}.pcd"


def image_name(k: int) -> str:
    return f"{LOG}/CAM_F0/{(0xC2B2AE3D27D4EB4F * (k + 1)) % 2**64:016x}.jpg"


def write_sensors(blobs: Path, frames: int) -> None:
    for k in range(frames):
        write_cloud(blobs / cloud_name(k), cloud(STEP_US * k / 1e6))
    for k in range(0, frames, 2):
        image(blobs / image_name(k), (96, 80))


def navsim_frame(k: int) -> dict[str, Any]:
    rotation, place, wxyz = ego(STEP_US * k / 1e6)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, place
    camera = {
        "data_path": image_name(k),
        "sensor2lidar_rotation": camera_rotation(),
        "sensor2lidar_translation": CAMERA_M,
        "cam_intrinsic": np.array(K),
        "distortion": np.array(DISTORTION),
    }
    return {
        "token": f"{k:016x}", "timestamp": FIRST_US + STEP_US * k, "log_name": LOG, "lidar_path": cloud_name(k),
        "lidar2ego_translation": np.zeros(3), "lidar2ego_rotation": [1.0, 0.0, 0.0, 0.0], "ego2global": pose,
        "ego2global_translation": place, "ego2global_rotation": np.array(wxyz), "cams": {"CAM_F0": camera},
        "anns": {"gt_names": np.array(["vehicle", "bicycle"]), "gt_boxes": np.zeros((2, 7))}, "sample_prev": None,
    }  # fmt: skip


def write_navsim(file: Path, frames: list[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps(frames, protocol=pickle.HIGHEST_PROTOCOL))
    return file


def write_log(root: Path, frames: int = 3) -> Path:
    """A dataset of one log."""
    write_sensors(root / "nuplan-v1.1" / "sensor_blobs", frames)
    write_database(root / "nuplan-v1.1" / "splits" / "mini" / f"{LOG}.db", frames)
    return root
