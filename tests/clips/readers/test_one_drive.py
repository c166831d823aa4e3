"""One synthetic drive as Waymo v1, Waymo v2 and PhysicalAI-AV: three formats, the same range maps and points."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("DracoPy", reason="extra draco is not installed")
pytest.importorskip("pyarrow", reason="extra parquet is not installed")

from cosmos_lidar.clips import Clip, open_clips
from cosmos_lidar.clips.poses import interpolate_poses
from cosmos_lidar.sensors import model_of_sensor, ray_directions
from cosmos_lidar.synth.drive import Drive
from tests.clips.readers.physicalai_av.recording import FIRST_US, LIDAR, ONE, STEP_M, Recording, draco, quaternion
from tests.clips.readers.waymo_records import (
    PERIOD_US,
    TOP_COLUMNS,
    TOP_ROWS,
    laser_sensor,
    record_drive,
    write_components,
    write_tfrecord,
)

TOP, FRAMES = 1, 3


def as_physicalai(frames: int = FRAMES) -> Recording:
    """The drive of ``record_drive``: its TOP lidar, as each spin saw it, its mounting, model and vehicle."""
    made = record_drive()
    calibration = made.lasers[TOP]
    sensor = laser_sensor(calibration, TOP_ROWS, TOP_COLUMNS)
    drive = Drive(5, sensor, frames, None)
    recording = Recording(frames)
    spins = []
    for index in range(frames):
        range_m, intensity = made.frames[index].lasers[TOP].images[0][..., :2].transpose(2, 0, 1)
        row, column = np.nonzero(range_m > 0)
        start = FIRST_US + index * PERIOD_US
        after_us = np.rint((column + 0.5) / TOP_COLUMNS * PERIOD_US)
        values = {
            "points": (ray_directions(sensor)[row, column] * range_m[row, column, None]).astype(np.float32),
            "intensity": np.rint(intensity[row, column] * 255).astype(np.uint8)[:, None],
            "timestamp": (start + after_us).astype(np.uint32)[:, None],
            "model_element": np.stack([row, column], 1).astype(np.uint16),
        }
        ends = {"spin_start_timestamp": start, "spin_end_timestamp": start + PERIOD_US}
        spins.append({**ends, "draco_encoded_pointcloud": draco(values)})
    times = range(-20_000, frames * PERIOD_US + 20_001, 10_000)
    recording.spins[ONE] = spins
    recording.egomotion[ONE] = [
        {"timestamp": FIRST_US + time, **quaternion(drive.scene.world_SE3_vehicle(time / 1e6))} for time in times
    ]
    mounting = {"sensor_name": LIDAR, **quaternion(calibration.ego_SE3_laser)}
    model = json.dumps(model_of_sensor(sensor))
    for name, change in (
        ("sensor_extrinsics.offline", mounting),
        ("lidar_intrinsics.offline", {"model_parameters": model}),
    ):
        for row in recording.calibration[name]:
            if row["clip_id"] == ONE and row.get("sensor_name", LIDAR) == LIDAR:
                row.update(change)
    return recording


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> dict[str, Clip]:
    root = tmp_path_factory.mktemp("one_drive")
    (first,) = open_clips(write_tfrecord(root / "v1" / "segment-a.tfrecord", record_drive()).parent)
    write_components(root / "v2" / "training", record_drive())
    (second,) = open_clips(root / "v2")
    (third,) = open_clips(as_physicalai().write_clips(root / "physicalai", (ONE,)))
    assert [clip.format for clip in (first, second, third)] == ["waymo", "waymo_v2", "physicalai_av"]
    return {"waymo": first, "waymo_v2": second, "physicalai_av": third}


def world(clip: Clip, index: int) -> np.ndarray:
    """Points of the first returns of TOP in the world, each from where the lidar was when it saw it."""
    sweep, lidar = clip.read_sweep(index), clip.lidar
    cloud = lidar.cloud(index)
    first = np.asarray(cloud.points)[: int((sweep.range_m > 0).sum())]
    ends, times = lidar.world_SE3_lidar[index], lidar.timestamps_us[index].astype(float)
    if clip.motion_compensated:
        return first @ ends[0][:3, :3].T + ends[0][:3, 3]
    poses = interpolate_poses(ends, times, times[0] + cloud.time_us[: len(first)])
    return np.einsum("nij,nj->ni", poses[:, :3, :3], first) + poses[:, :3, 3]


@pytest.mark.parametrize("index", range(FRAMES))
def test_range_maps_are_the_same(clips, index):
    made = record_drive().frames[index].lasers[TOP].images[0][..., 0]
    sent = np.where(made > 0, made, 0)
    assert 0.3 < (sent > 0).mean() < 1.0
    for name, clip in clips.items():
        found = clip.range_map(index)
        assert np.array_equal(found > 0, sent > 0), name
        step = STEP_M / 2 * 3**0.5 + 1e-4 if name == "physicalai_av" else 0.0
        assert np.abs(found - sent).max() <= step, name


@pytest.mark.parametrize("index", range(FRAMES))
def test_points_are_at_the_same_places_in_the_world(clips, index):
    made = record_drive().frames[index].lasers[TOP].world_points
    made = made[np.isfinite(made[..., 0])]
    for name, clip in clips.items():
        far = np.linalg.norm(world(clip, index) - made, axis=1).max()
        assert far < (0.02 if name == "physicalai_av" else 1e-3), name


def test_sensors_and_mountings_are_the_same(clips):
    beams = {name: clip.sensor for name, clip in clips.items()}
    for name, one in beams.items():
        assert np.allclose(one.row_elevations_rad, beams["waymo"].row_elevations_rad, atol=1e-6), name
        assert one.shape == (TOP_ROWS, TOP_COLUMNS)
        ego_SE3_lidar = clips[name].lidar.ego_SE3_lidar
        assert np.allclose(ego_SE3_lidar[:3, 3], record_drive().lasers[TOP].ego_SE3_laser[:3, 3]), name
        # Axes of the lidar may be turned about its axis of rotation: the rays in axes of the vehicle are the same.
        rays = ray_directions(one) @ ego_SE3_lidar[:3, :3].T
        first = ray_directions(beams["waymo"]) @ clips["waymo"].lidar.ego_SE3_lidar[:3, :3].T
        assert np.abs(rays - first).max() < 1e-5, name
