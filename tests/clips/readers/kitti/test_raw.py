from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.errors import DataError
from tests.clips.readers.test_kitti import cloud, raw, scan


def test_lost_frames_keep_their_empty_lines(tmp_path):
    folder = tmp_path / "2011_09_26" / "2011_09_26_drive_0009_sync" / "velodyne_points"
    seconds = {0: 0.0, 1: 0.1, 2: 0.2, 5: 0.5, 6: 0.6, 7: 0.7}
    for part, shift in (("", 0.05), ("_start", 0.0), ("_end", 0.1)):
        lines = [f"2011-09-26 13:00:{seconds[k] + shift:012.9f}" if k in seconds else "" for k in range(8)]
        (folder / "data").mkdir(parents=True, exist_ok=True)
        (folder / f"timestamps{part}.txt").write_text("\n".join(lines) + "\n")
    for k in seconds:
        scan(folder / "data" / f"{k:010d}.bin", cloud())
    (clip,) = open_clips(tmp_path)
    assert clip.frame_ids[3] == "0000000005"
    assert (clip.timestamps_us[:, 0] - clip.timestamps_us[0, 0]).tolist() == [0, 1e5, 2e5, 5e5, 6e5, 7e5]
    scan(folder / "data" / "0000000004.bin", cloud())  # recorded, and its line is empty
    (clip,) = open_clips(tmp_path)
    assert (np.diff(clip.timestamps_us[:, 0]) > 0).all()
    with pytest.raises(DataError, match="no time: the line of this frame in timestamps.txt.*0000000004.bin"):
        clip.read_sweep(3)
    assert any("no time: the line" in problem for problem in check_clip(clip).problems)


def test_raw_drive(tmp_path):
    raw(tmp_path)
    (clip,) = open_clips(tmp_path)
    assert clip.clip_id == "2011_09_26_drive_0009_sync"
    assert [int(frame) for frame in clip.frame_ids] == [0, 1, 3, 4]  # times go by the number, not by the position
    assert np.diff(clip.timestamps_us[:, 0]).tolist() == [100_000, 200_000, 100_000]
    assert (clip.timestamps_us[:, 1] - clip.timestamps_us[:, 0]).tolist() == [100_000] * 4
    where = clip.world_SE3_lidar[:, 0, :3, 3]
    assert np.allclose(where[:, 1], np.array([-0.5, 0.5, 2.5, 3.5]) - 0.8, atol=1e-3)  # the lidar is 0.8 m behind
    assert np.allclose(clip.world_SE3_lidar[0, 0, :3, :3] @ [1, 0, 0], [0, 1, 0], atol=1e-9)
    assert np.allclose(clip.read_sweep(2).points, [[5.5, 0, 0]], atol=1e-3)
    camera = clip.cameras["image_02"]
    assert len(camera) == 5
    assert np.allclose(np.diff(camera.world_SE3_camera[:, 1, 3]), 1.0, atol=1e-3)
    for path in (tmp_path / "2011_09_26", clip.source, clip.source / "velodyne_points" / "data"):
        assert open_clips(path)[0].clip_id == clip.clip_id


def test_raw_drive_that_was_not_synchronised_is_as_measured(tmp_path):
    raw(tmp_path, "extract")
    (clip,) = open_clips(tmp_path)
    assert not clip.motion_compensated
    assert clip.world_SE3_lidar is not None
    assert np.allclose(clip.read_sweep(2).points, [[5.0, 0, 0]])


def test_raw_drive_with_too_few_times(tmp_path):
    drive = raw(tmp_path)
    (drive / "velodyne_points" / "timestamps_end.txt").write_text("2011-09-26 13:00:00.1\n")
    with pytest.raises(
        DataError, match="1 times for frame numbers up to 4.*timestamps_end.txt, clip 2011_09_26_drive_0009_sync"
    ):
        open_clips(tmp_path)
    (drive / "velodyne_points" / "timestamps_end.txt").write_text("yesterday\n" * 5)
    with pytest.raises(DataError, match="not readable.*timestamps_end.txt"):
        open_clips(tmp_path)
