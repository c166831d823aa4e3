from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import decompensate_motion
from tests.clips.readers.test_nuscenes import (
    add_labels,
    lidar_file,
    real_file,
    tables,
)


def test_points_are_turned_and_moved_to_the_start(tmp_path):
    tables(tmp_path)
    (clip,) = open_clips(tmp_path)
    sweep = clip.read_sweep(2)
    assert np.allclose(sweep.points, [[11.0, -2.0, 0.5]], atol=1e-5)  # 10 m ahead of the end, 11 m ahead of the start
    in_world = clip.world_SE3_lidar[2, 0] @ [*sweep.points[0], 1.0]
    assert np.allclose(in_world[:3], [2 + 0.9 + 10.0, -2.0, 2.3], atol=1e-5)
    assert sweep.intensity.tolist() == [128.0]


def test_segmentation_labels(tmp_path):
    folder = tables(tmp_path)
    add_labels(tmp_path, folder, "lidarseg", "l0", np.array([24], np.uint8))
    (clip,) = open_clips(tmp_path)
    assert clip.read_sweep(0).labels.tolist() == [24]
    assert clip.read_sweep(0).instance is None
    assert clip.read_sweep(1).labels is None


def test_panoptic_labels(tmp_path):
    folder = tables(tmp_path)
    add_labels(tmp_path, folder, "panoptic", "l0", np.array([17_042], np.uint16))
    (clip,) = open_clips(tmp_path)
    sweep = clip.read_sweep(0)
    assert (sweep.labels.tolist(), sweep.instance.tolist()) == ([17], [42])
    assert clip.read_sweep(1).instance is None
    add_labels(tmp_path, folder, "lidarseg", "l0", np.array([24], np.uint8))
    both = open_clips(tmp_path)[0].read_sweep(0)
    assert (both.labels.tolist(), both.instance.tolist()) == ([24], [42])  # the classes of lidarseg are kept
    add_labels(tmp_path, folder, "panoptic", "l0", np.array([1, 2], np.uint16))
    with pytest.raises(DataError, match=r"uint16 \(2,\).*l0_panoptic.npz, clip scene-0001, key data"):
        open_clips(tmp_path)[0].read_sweep(0)
    (tmp_path / "panoptic/v1.0-mini/l0_panoptic.npz").write_bytes(b"none")
    with pytest.raises(DataError, match="not readable.*l0_panoptic.npz"):
        open_clips(tmp_path)[0].read_sweep(0)


def test_rings_are_read_where_the_column_holds_them(tmp_path):
    tables(tmp_path)
    assert open_clips(tmp_path)[0].read_sweep(1).ring.tolist() == [7]
    np.array([[2.0, 10.0, 0.5, 128.0, 0.05]], "<f4").tofile(tmp_path / lidar_file(1))  # times, as others write
    assert open_clips(tmp_path)[0].read_sweep(1).ring is None


def test_real_sweep_as_the_sensor_saw_it(test_data, tmp_path):
    """With the speed it was recorded at (9.1 m/s), the 32 beams of every firing look into one direction again."""
    tables(tmp_path, sweeps=2, real=real_file(test_data), step_m=0.455)
    (clip,) = open_clips(tmp_path)
    sweep = clip.read_sweep(1)
    start, end = clip.world_SE3_lidar[1]
    seen = decompensate_motion(sweep.points, clip.sensor, np.linalg.inv(end) @ start)
    as_stored = open_clips(test_data / "nuscenes")[0].points(0)

    def spread_deg(points: np.ndarray) -> float:
        azimuth = np.exp(1j * np.arctan2(points[:, 1], points[:, 0])).reshape(-1, 32)
        near = np.linalg.norm(points, axis=1).reshape(-1, 32) < 2.5
        middle = np.where(near, 0, azimuth).sum(1, keepdims=True)
        return float(np.median(np.abs(np.degrees(np.angle(azimuth / middle)))[~near]))

    assert spread_deg(as_stored) > 0.3
    assert spread_deg(seen) < 0.08  # a column is 0.33 degrees wide
    filled = np.count_nonzero(clip.range_map(1)) / clip.sensor.rows / clip.sensor.columns
    assert filled > 0.83  # 0.77 without
