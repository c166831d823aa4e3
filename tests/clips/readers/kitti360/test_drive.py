from __future__ import annotations

import shutil

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.errors import DataError
from tests.clips.readers.test_kitti import image
from tests.clips.readers.test_kitti360 import DRIVE, clock, write_drive


def test_times_go_by_the_number_of_the_frame(tmp_path):
    write_drive(tmp_path)
    scans = tmp_path / "data_3d_raw" / DRIVE / "velodyne_points"
    (scans / "data" / "0000000002.bin").unlink()
    (clip,) = open_clips(tmp_path)
    assert np.diff(clip.timestamps_us[:, 0]).tolist() == [100_000, 200_000, 100_000]
    (scans / "timestamps.txt").write_text(clock(np.array([0.0, 0.1])))
    with pytest.raises(DataError, match=f"2 times for frame numbers up to 4.*timestamps.txt, clip {DRIVE}"):
        open_clips(tmp_path)


def test_scans_without_a_time_truncated_or_empty(tmp_path):
    write_drive(tmp_path)
    scans = tmp_path / "data_3d_raw" / DRIVE / "velodyne_points"
    lines = (scans / "timestamps.txt").read_text().splitlines()
    lines[1] = ""
    (scans / "timestamps.txt").write_text("\n".join(lines) + "\n")
    (scans / "data" / "0000000003.bin").write_bytes(b"1234567")
    (scans / "data" / "0000000004.bin").write_bytes(b"")
    (clip,) = open_clips(tmp_path)
    for index, message in ((1, "no time: the line"), (3, "7 bytes are no whole number"), (4, "the file is empty")):
        with pytest.raises(DataError, match=f"{message}.*000000000{index}.bin, clip {DRIVE}"):
            clip.read_sweep(index)
    unread = [one for one in check_clip(clip).problems if " bytes" in one or "no time" in one]
    assert len(unread) == 3


def test_missing_poses_and_images(tmp_path):
    write_drive(tmp_path)
    shutil.rmtree(tmp_path / "data_poses")
    (tmp_path / "data_2d_raw" / DRIVE / "image_01" / "timestamps.txt").unlink()
    (clip,) = open_clips(tmp_path)
    assert clip.world_SE3_lidar is None
    assert "no data_poses/: no poses" in clip.notes
    assert "image_01: left out, no timestamps.txt" in clip.notes
    assert clip.cameras["image_00"].world_SE3_camera is None
    assert clip.cameras["image_00"].lidar_SE3_camera is not None


def test_images_of_another_size(tmp_path):
    write_drive(tmp_path)
    for file in (tmp_path / "data_2d_raw" / DRIVE / "image_00" / "data_rect").iterdir():
        image(file, (48, 40))
    (clip,) = open_clips(tmp_path)
    assert "image_00: images of 48 x 40, calibrated at 96 x 80" in clip.notes
    assert (clip.cameras["image_00"].model.fx, clip.cameras["image_00"].model.width) == (27.5, 48)
