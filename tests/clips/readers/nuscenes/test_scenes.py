from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.errors import DataError
from tests.clips.readers.test_nuscenes import (
    CAMERA_MOUNT,
    FIRST_US,
    LIDAR_MOUNT,
    STEP_US,
    add_labels,
    lidar_file,
    tables,
)


def test_camera(tmp_path):
    tables(tmp_path)
    (clip,) = open_clips(tmp_path)
    camera = clip.cameras["CAM_FRONT"]
    assert list(clip.cameras) == ["CAM_FRONT"]
    assert camera.read(0).shape == (90, 160, 3)
    # A point in the world 20 m ahead of the camera, 2 m to the left, 1 m up.
    uv, depth = camera.model.project((np.linalg.inv(camera.world_SE3_camera[0]) @ [21.7, 2.0, 2.5, 1.0])[None, :3])
    assert np.allclose(uv, [[80 - 126 * 2 / 20, 45 - 126 * 1 / 20]])
    assert np.allclose(depth, 20.0)
    assert np.allclose(camera.lidar_SE3_camera[:3, 3], [0.8, 0.0, -0.3])


def test_sweeps_that_are_not_on_disk(tmp_path):
    tables(tmp_path)
    for k in (1, 3):
        (tmp_path / lidar_file(k)).unlink()
    (clip,) = open_clips(tmp_path / "v1.0-mini")
    assert clip.frame_ids == (str(FIRST_US), str(FIRST_US + 2 * STEP_US))
    assert clip.notes == ("2 of 4 sweeps of the tables are not on disk",)
    assert clip.timestamps_us[1, 0] == FIRST_US + STEP_US
    for k in (0, 2):
        (tmp_path / lidar_file(k)).unlink()
    with pytest.raises(DataError, match="none of the sweeps in the tables is on disk.*sweeps/LIDAR_TOP"):
        open_clips(tmp_path)


def test_labels_that_are_not_on_disk_are_noted(tmp_path):
    folder = tables(tmp_path)
    add_labels(tmp_path, folder, "lidarseg", "l0", np.array([24], np.uint8))
    (tmp_path / "lidarseg/v1.0-mini/l0_lidarseg.bin").unlink()
    (clip,) = open_clips(tmp_path)
    assert clip.notes == ("1 of 1 label files of the tables are not on disk",)
    assert clip.read_sweep(0).labels is None


def test_places_on_the_vehicle(tmp_path):
    tables(tmp_path)
    (clip,) = open_clips(tmp_path)
    assert np.allclose(clip.lidar.ego_SE3_lidar[:3, 3], LIDAR_MOUNT["translation"])
    assert np.allclose(clip.lidar.ego_SE3_lidar[:3, :3], np.eye(3), atol=1e-9)  # turned along with the points
    camera = clip.cameras["CAM_FRONT"]
    assert np.allclose(camera.ego_SE3_camera[:3, 3], CAMERA_MOUNT["translation"])
