from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.readers.nuplan.navsim import read_frames
from cosmos_lidar.errors import DataError
from tests.clips.readers.nuplan.logs import FIRST_US, STEP_US, navsim_frame, write_navsim


def test_frames_are_put_in_the_order_of_time(tmp_path):
    records = read_frames(write_navsim(tmp_path / "a.pkl", [navsim_frame(k) for k in (20, 0, 10)]), "c")
    assert [stamp for stamp, _ in records.clouds] == [FIRST_US + STEP_US * k for k in (0, 10, 20)]
    assert records.track.order == 2
    assert [stamp for stamp, _ in records.cameras["CAM_F0"].images] == [stamp for stamp, _ in records.clouds]


def test_cameras_are_mounted_by_way_of_the_cloud(tmp_path):
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    half = np.sqrt(0.5)
    frame = {**navsim_frame(0), "lidar2ego_rotation": [half, 0, 0, half], "lidar2ego_translation": [1.0, 2.0, 3.0]}
    records = read_frames(write_navsim(tmp_path / "a.pkl", [frame]), "c")
    camera = frame["cams"]["CAM_F0"]
    mounted = records.cameras["CAM_F0"].ego_SE3_camera
    assert np.allclose(mounted[:3, :3], turn @ camera["sensor2lidar_rotation"])
    assert np.allclose(mounted[:3, 3], turn @ camera["sensor2lidar_translation"] + [1, 2, 3])


def test_frames_without_cameras(tmp_path):
    assert read_frames(write_navsim(tmp_path / "a.pkl", [{**navsim_frame(0), "cams": None}]), "c").cameras == {}


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "not readable: .*no list of frames"),
        ({"a": 1}, "not readable: .*no list of frames"),
        ([{}], "not readable: KeyError"),
        ([{**navsim_frame(0), "timestamp": 1.5}], "not readable: .*timestamp 1.5"),
        ([navsim_frame(0)] * 2, "times that do not increase.*key ego_pose"),
        ([{**navsim_frame(0), "ego2global_rotation": [1, 1, 1, 1]}], "no unit quaternion.*key frame 0, ego2global"),
        ([{**navsim_frame(0), "ego2global_translation": None}], "key frame 0, ego2global"),
        ([{**navsim_frame(0), "cams": {"CAM_F0": {}}}], "key cams CAM_F0, sensor2lidar"),
    ],
)
def test_broken_frames(tmp_path, frames, message):
    file = write_navsim(tmp_path / "a.pkl", frames)
    with pytest.raises(DataError, match=message) as refused:
        read_frames(file, "c")
    assert "a.pkl, clip c" in str(refused.value)


def test_a_truncated_file(tmp_path):
    file = write_navsim(tmp_path / "a.pkl", [navsim_frame(0)])
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(DataError, match="not readable.*a.pkl, clip c.*Expected: frames of NAVSIM"):
        read_frames(file, "c")
