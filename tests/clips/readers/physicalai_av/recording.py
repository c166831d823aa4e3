"""Encoder of PhysicalAI-Autonomous-Vehicles recordings from a synthetic drive, by the published names of its files."""

from __future__ import annotations

import json
import math
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cosmos_lidar.clips.video import write_mp4
from cosmos_lidar.sensors import model_of_sensor, range_map_to_points
from tests.clips.readers.synthetic import EGO_SE3_CAMERA, EGO_SE3_LIDAR, ego_pose, recorded, sensor

DracoPy = pytest.importorskip("DracoPy", reason="extra draco is not installed")
pa = pytest.importorskip("pyarrow", reason="extra parquet is not installed")
pq = pytest.importorskip("pyarrow.parquet", reason="extra parquet is not installed")

LIDAR, CAMERA = "lidar_top_360fov", "camera_front_wide_120fov"
ONE, OTHER = "0b2c8d9e-0000-4000-8000-000000000001", "0b2c8d9e-0000-4000-8000-000000000002"
FIRST_US = 40_000  # of the first spin, on the clock of the clip
STEP_M = 200.0 / (2**14 - 1)  # of positions: 14 bits over 200 m
SHUTTER_US = 30_000
DIMENSIONS = {"length": 4.9, "width": 2.1, "height": 1.5, "wheelbase": 2.9, "rear_axle_to_bbox_center": 1.4}
LENS = {
    "resolution": [64, 48],
    "shutter_type": "ROLLING_TOP_TO_BOTTOM",
    "external_distortion_parameters": None,
    "principal_point": [31.5, 23.0],
    "reference_poly": "ANGLE_TO_PIXELDIST",
    "pixeldist_to_angle_poly": [0.0, 0.025, 0.0, 0.0, 0.0, 0.0],
    "angle_to_pixeldist_poly": [0.0, 40.0, 0.0, -1.0, 0.0, 0.0],
    "max_angle": 1.2,
    "linear_cde": [0.0, 0.0, 0.0],
    "shutter_delay_us": SHUTTER_US,
}


@lru_cache(maxsize=8)
def encoded(index: int) -> bytes:
    """The Draco cloud of a spin."""
    return draco(cloud(index))


def cloud(index: int, more: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """points, intensity, timestamp and model_element of a spin; ``more`` is put behind."""
    sweep = recorded(index)
    row, column = np.nonzero(sweep.range_m)
    seen = sweep.range_m > 0
    start = FIRST_US + index * 100_000
    values = {
        "points": range_map_to_points(sweep.range_m, sensor()),
        "intensity": np.rint(sweep.intensity[seen] * 255).astype(np.uint8)[:, None],
        "timestamp": (start + sweep.time_us[seen]).astype(np.uint32)[:, None],
        "model_element": np.stack([row, column], 1).astype(np.uint16),
    }
    return {key: np.concatenate([value, more[key]]) for key, value in values.items()} if more else values


def draco(values: dict[str, np.ndarray], **options: Any) -> bytes:
    """A Draco cloud with named attributes, on a grid of ``STEP_M``."""
    generic = {key: value for key, value in values.items() if key != "points"}
    grid = {"quantization_bits": 14, "quantization_range": 200.0, "quantization_origin": [-100.0] * 3}
    return DracoPy.encode(values["points"], generic_attributes=generic, **{**grid, **options})


def quaternion(pose: np.ndarray) -> dict[str, float]:
    """qw qx qy qz x y z of a pose, from its trace and differences."""
    r = pose[:3, :3]
    w = math.sqrt(max(1 + r[0, 0] + r[1, 1] + r[2, 2], 1e-12)) / 2
    x, y, z = (r[2, 1] - r[1, 2]) / (4 * w), (r[0, 2] - r[2, 0]) / (4 * w), (r[1, 0] - r[0, 1]) / (4 * w)
    return {"qw": w, "qx": x, "qy": y, "qz": z, **dict(zip("xyz", map(float, pose[:3, 3]), strict=True))}


def table(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows)


@dataclass
class Recording:
    """The tables of two clips, ready to be written in any layout; tests change them before."""

    frames: int = 3

    def __post_init__(self) -> None:
        self.spins = {clip: self._spins() for clip in (ONE, OTHER)}
        self.egomotion = {clip: self._egomotion() for clip in (ONE, OTHER)}
        self.images = {clip: self._images() for clip in (ONE, OTHER)}
        self.calibration = {
            "sensor_extrinsics.offline": self._per_clip(
                {"sensor_name": LIDAR, **quaternion(EGO_SE3_LIDAR)},
                {"sensor_name": CAMERA, **quaternion(EGO_SE3_CAMERA)},
            ),
            "lidar_intrinsics.offline": self._per_clip(
                {
                    "lidar_name": LIDAR,
                    "model_type": "row-offset-spinning",
                    "model_parameters": json.dumps(model_of_sensor(sensor())),
                }
            ),
            "camera_intrinsics.offline": self._per_clip(
                {
                    "camera_name": CAMERA,
                    "model_type": "ftheta",
                    "model_parameters": json.dumps(LENS),
                    "ego_mask_image_png": b"\x89PNG",
                }
            ),
            "vehicle_dimensions": self._per_clip(DIMENSIONS),
        }

    def _per_clip(self, *rows: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"clip_id": clip, **row} for clip in (ONE, OTHER) for row in rows]

    def _spins(self) -> list[dict[str, Any]]:
        starts = [FIRST_US + index * 100_000 for index in range(self.frames)]
        return [
            {
                "spin_start_timestamp": start,
                "spin_end_timestamp": start + 100_000,
                "draco_encoded_pointcloud": encoded(index),
            }
            for index, start in enumerate(starts)
        ]

    def _egomotion(self) -> list[dict[str, Any]]:
        times = range(-20_000, FIRST_US + self.frames * 100_000 + 20_001, 10_000)
        return [{"timestamp": time, **quaternion(ego_pose((time - FIRST_US) / 1e6))} for time in times]

    def _images(self) -> list[dict[str, Any]]:
        return [{"timestamp": FIRST_US + SHUTTER_US + round(number * 1e6 / 30)} for number in range(self.frames * 3)]

    def write_clips(self, root: Path, clips: tuple[str, ...] = (ONE, OTHER)) -> Path:
        """Folders of clips, as the download tool of NCore writes them."""
        for clip in clips:
            self._write_clip_files(root / clip, clip, {"lidar": "lidar", "camera": "camera", "labels": "labels"})
            for name, rows in self.calibration.items():
                self._write(root / clip / "calibration" / f"{name}.parquet", [r for r in rows if r["clip_id"] == clip])
        return root

    def write_tree(self, root: Path) -> Path:
        """The unpacked dataset."""
        for clip in (ONE, OTHER):
            features = (f"lidar/{LIDAR}", f"camera/{CAMERA}", "labels/egomotion.offline")
            self._write_clip_files(root, clip, dict(zip(("lidar", "camera", "labels"), features, strict=True)))
        self._write_tables(root)
        return root

    def write_chunks(self, root: Path, compression: int = zipfile.ZIP_STORED) -> Path:
        """The dataset as it is downloaded: zips of all clips of a chunk."""
        loose = self.write_tree(root / "loose")
        for feature in (f"lidar/{LIDAR}", f"camera/{CAMERA}", "labels/egomotion.offline"):
            folder = root / feature
            folder.mkdir(parents=True)
            with zipfile.ZipFile(folder / f"{folder.name}.chunk_0003.zip", "w", compression) as archive:
                for path in sorted((loose / feature).iterdir()):
                    archive.write(path, path.name)
                    path.unlink()
        for path in sorted(loose.rglob("*"), reverse=True):
            path.unlink() if path.is_file() else path.rmdir()
        loose.rmdir()
        self._write_tables(root)
        return root

    def _write_tables(self, root: Path) -> None:
        for name, rows in self.calibration.items():
            self._write(root / "calibration" / name / f"{name}.chunk_0003.parquet", rows)
            strangers = [{**row, "clip_id": "f" * 36} for row in rows]
            self._write(root / "calibration" / name / f"{name}.chunk_0004.parquet", strangers)

    def _write_clip_files(self, root: Path, clip: str, folders: dict[str, str]) -> None:
        self._write(root / folders["lidar"] / f"{clip}.{LIDAR}.parquet", self.spins[clip], row_group_size=1)
        self._write(root / folders["labels"] / f"{clip}.egomotion.offline.parquet", self.egomotion[clip])
        camera = root / folders["camera"] / f"{clip}.{CAMERA}"
        self._write(Path(f"{camera}.timestamps.parquet"), self.images[clip])
        pictures = (np.full((48, 64, 3), 8 * number % 256, np.uint8) for number in range(self.frames * 3))
        write_mp4(Path(f"{camera}.mp4"), pictures, 30.0)

    def _write(self, path: Path, rows: list[dict[str, Any]], **options: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table(rows), path, **options)
