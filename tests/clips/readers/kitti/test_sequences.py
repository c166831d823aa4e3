from __future__ import annotations

import numpy as np

from cosmos_lidar.clips import open_clips
from tests.clips.readers.test_kitti import image, odometry, scan


def test_odometry(tmp_path):
    odometry(tmp_path)
    (clip,) = open_clips(tmp_path)
    assert (clip.clip_id, clip.format, len(clip), clip.motion_compensated) == ("03", "kitti", 4, True)
    assert clip.notes == ()
    assert clip.sensor.name == "kitti_hdl64e"
    # Stamps are those of the middle of the sweep.
    assert clip.timestamps_us[1].tolist() == [50_000, 150_000]
    # The world is that of the lidar: driving along the camera's z is driving along x.
    assert np.allclose(clip.world_SE3_lidar[:, 0, :3, 3], [[k - 0.5, 0, 0] for k in range(4)], atol=1e-6)
    assert np.allclose(clip.world_SE3_lidar[:, 1, :3, 3], [[k + 0.5, 0, 0] for k in range(4)], atol=1e-6)


def test_sequence_without_anything_else_says_so(tmp_path):
    for k in (3, 4, 7):
        scan(tmp_path / "velodyne" / f"{k:06d}.bin")
    (clip,) = open_clips(tmp_path)
    assert clip.frame_ids == ("000003", "000004", "000007")
    assert clip.timestamps_us[:, 0].tolist() == [300_000, 400_000, 700_000]
    assert clip.world_SE3_lidar is None
    assumed, *missing = clip.notes
    assert "by the kind of its files alone and read as kitti: float32 x y z reflectance, x forward" in assumed
    assert [note.split(":")[0] for note in missing] == ["no times.txt", "no calib.txt", "no poses without calib.txt"]
    assert open_clips(tmp_path, format="kitti")[0].notes == tuple(missing)
    assert open_clips(tmp_path / "velodyne")[0].clip_id == clip.clip_id


def test_empty_lines_of_a_sequence(tmp_path):
    folder = odometry(tmp_path, frames=5)
    (whole,) = open_clips(tmp_path)
    times, poses = (folder / "times.txt"), tmp_path / "poses" / "03.txt"
    for file in (times, poses):
        lines = file.read_text().splitlines()
        lines[2] = ""
        file.write_text("\n".join(lines) + "\n\n")
    (folder / "velodyne" / "000002.bin").unlink()
    (clip,) = open_clips(tmp_path)
    kept = [0, 1, 3, 4]
    assert np.array_equal(clip.timestamps_us, whole.timestamps_us[kept])
    assert np.allclose(clip.world_SE3_lidar, whole.world_SE3_lidar[kept])
    camera = clip.cameras["image_2"]
    assert [file.stem for file in camera.read.files] == ["000000", "000001", "000003", "000004"]


def test_images_in_jpg_and_beyond_the_times(tmp_path):
    folder = odometry(tmp_path)
    for file in list((folder / "image_2").iterdir()):
        image(file.with_suffix(".jpg"))
        file.unlink()
    image(folder / "image_2" / "000009.jpg")  # no line of times.txt
    (clip,) = open_clips(tmp_path)
    assert clip.cameras["image_2"].timestamps_us.tolist() == [0, 100_000, 200_000, 300_000]
    assert [file.name for file in clip.cameras["image_2"].read.files][-1] == "000003.jpg"
