from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.errors import DataError
from tests.clips.readers.test_kitti import P2, TR, image, row, scan


def test_object_frames_are_clips_of_their_own(tmp_path):
    for k, size in ((0, (100, 80)), (7, (120, 90))):
        scan(tmp_path / "training" / "velodyne" / f"{k:06d}.bin")
        image(tmp_path / "training" / "image_2" / f"{k:06d}.png", size)
        calib = tmp_path / "training" / "calib" / f"{k:06d}.txt"
        calib.parent.mkdir(exist_ok=True)
        calib.write_text(row("P2", P2) + row("R0_rect", np.eye(3)) + row("Tr_velo_to_cam", TR))
    clips = open_clips(tmp_path)
    assert [clip.clip_id for clip in clips] == ["training_000000", "training_000007"]
    assert [len(clip) for clip in clips] == [1, 1]
    assert clips[1].cameras["image_2"].model.width == 120
    assert clips[1].cameras["image_2"].read(0).shape == (90, 120, 3)
    (tmp_path / "training" / "calib" / "000007.txt").unlink()
    with pytest.raises(DataError, match="missing calibration file.*000007.txt, clip training_000007"):
        open_clips(tmp_path)


def test_real_object_frames(test_data):
    clips = open_clips(test_data / "kitti_object")
    assert [clip.clip_id for clip in clips] == ["training_000000", "training_000001"]
    for clip, size in zip(clips, ((370, 1224, 3), (375, 1242, 3)), strict=True):
        camera = clip.cameras["image_2"]
        assert camera.read(0).shape == size
        points = clip.points(0)
        ahead = points[points[:, 0] > 5]
        in_camera = (np.linalg.inv(camera.lidar_SE3_camera) @ np.column_stack([ahead, np.ones(len(ahead))]).T).T[:, :3]
        uv, _ = camera.model.project(in_camera)
        inside = (uv[:, 0] >= 0) & (uv[:, 0] < size[1]) & (uv[:, 1] >= 0) & (uv[:, 1] < size[0])
        assert 0.2 < inside.mean() < 0.9
