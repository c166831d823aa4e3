from __future__ import annotations

import shutil

import numpy as np
import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.errors import DataError, UserError
from tests.clips.readers.test_kitti import cloud, image, odometry, scan


def test_broken_scans(tmp_path):
    file = tmp_path / "drive" / "000000.bin"
    scan(file)
    (clip,) = open_clips(file.parent)
    assert clip.clip_id == "drive"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(
        DataError, match="795 bytes are no whole number of points.*000000.bin, clip drive.*multiple of 16"
    ):
        clip.read_sweep(0)
    image(tmp_path / "p.png")
    shutil.copy(tmp_path / "p.png", file)
    with pytest.raises(DataError, match="this is a PNG image, not points.*000000.bin, clip drive"):
        clip.read_sweep(0)
    points = np.zeros((4, 4))
    points[2, 1] = 1e20
    scan(file, points)
    message = "1 of 4 points have impossible coordinates.*0 1e\\+20 0.*clip drive, key point 2"
    with pytest.raises(DataError, match=message):
        clip.read_sweep(0)
    rng = np.random.default_rng(0)
    rng.uniform(-40, 40, (4000, 4)).astype("<f8").tofile(file)
    with pytest.raises(DataError, match="impossible coordinates|looks like"):
        clip.read_sweep(0)
    file.unlink()
    with pytest.raises(DataError, match="cannot be read.*000000.bin"):
        clip.read_sweep(0)


def test_a_file_without_a_byte_is_a_damaged_sweep(tmp_path):
    for k in range(9):
        scan(tmp_path / f"{k:06d}.bin", cloud() * (1 + k / 1000) if k != 3 else np.zeros((0, 4)))
    (clip,) = open_clips(tmp_path, format="kitti")
    with pytest.raises(DataError, match="the file is empty: 0 bytes.*000003.bin"):
        clip.read_sweep(3)
    assert check_clip(clip).problems == ("sweep 3: the file is empty: 0 bytes (000003.bin)",)  # 0, 4 and 8 are read
    (tmp_path / "000005.bin").write_bytes(b"123")
    assert "sweep 5: 3 bytes are no whole number of points (000005.bin)" in check_clip(clip).problems


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0], ids=str)
def test_points_without_return_are_left_out_with_their_labels(tmp_path, value):
    good, kept = cloud(), np.arange(3000) % 5 > 0
    odd = good.copy()
    if value == 0.0:
        odd[~kept, :3] = 0.0
    else:
        odd[~kept, np.arange((~kept).sum()) % 3] = value  # in one of the three coordinates
    folder = odometry(tmp_path)
    for k, points in enumerate((good[kept], odd, good[kept], good[kept])):
        scan(folder / "velodyne" / f"{k:06d}.bin", points)
    (folder / "labels").mkdir()
    classes = np.arange(3000, dtype="<u4") % 7 + 10
    (classes | 9 << 16).tofile(folder / "labels" / "000001.label")
    (clip,) = open_clips(tmp_path)
    sweep = clip.read_sweep(1)
    assert np.array_equal(sweep.points, clip.read_sweep(0).points)
    assert np.array_equal(sweep.labels, classes[kept])
    assert np.array_equal(sweep.intensity, good[kept, 3])
    assert (sweep.without_return, set(sweep.instance)) == (600, {9})
    health = check_clip(clip, sweeps=4)
    assert "velodyne: 600 points of 4 sweeps are NaN, infinite or the origin: no return" in health.notes


@pytest.mark.parametrize("width", [3, 5, 6, 7])
def test_scans_of_other_columns_are_refused_until_they_are_stated(tmp_path, width, capsys):
    points = cloud()
    more = [np.repeat(np.arange(60), 50), np.linspace(0, 0.1, 3000), np.zeros(3000)]
    scan(tmp_path / "000000.bin", np.column_stack([points, *more])[:, :width])
    (clip,) = open_clips(tmp_path, format="kitti")
    with pytest.raises(DataError, match=f"looks like {width} float32 per point, not 4.*000000.bin.*--columns {width}"):
        clip.range_map(0)
    (stated,) = open_clips(tmp_path, format="kitti", columns=width)
    assert np.array_equal(stated.points(0), points[:, :3])
    assert (stated.read_sweep(0).intensity is None) == (width == 3)
    assert main(["inspect", str(tmp_path), "--format", "kitti"]) == 1
    assert f"--columns {width}" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path), "--format", "kitti", "--columns", str(width)]) == 0
    with pytest.raises(UserError, match="columns 2: expected at least 3"):
        open_clips(tmp_path, format="kitti", columns=2)


def test_hidden_and_strange_files_are_no_frames(tmp_path, caplog):
    folder = odometry(tmp_path)
    (whole,) = open_clips(tmp_path)
    for k in range(4):
        (folder / "velodyne" / f"._{k:06d}.bin").write_bytes(b"Mac OS X")
        (folder / "image_2" / f"._{k:06d}.png").write_bytes(b"Mac OS X")
    (folder / "velodyne" / "000009.bin").mkdir()
    (folder / "velodyne" / "map.bin").write_bytes(b"")
    (tmp_path / "sequences" / ".Trash" / "velodyne").mkdir(parents=True)
    scan(tmp_path / "sequences" / ".Trash" / "velodyne" / "000000.bin")
    (clip,) = open_clips(tmp_path)
    assert clip.frame_ids == whole.frame_ids
    assert np.array_equal(clip.timestamps_us, whole.timestamps_us)
    assert len(clip.cameras["image_2"]) == 4
    assert "1 files are no frames, such as map.bin" in caplog.text


def test_one_scan_is_a_path(tmp_path):
    points = scan(tmp_path / "000012.bin")
    (clip,) = open_clips(tmp_path / "000012.bin")
    assert (clip.clip_id, len(clip)) == ("000012", 1)
    assert np.array_equal(clip.points(0), points[:, :3])


def test_real_odometry_scans(test_data):
    (clip,) = open_clips(test_data / "kitti_velodyne")
    assert [len(clip.points(k)) for k in range(5)] == [124668, 124605, 124478, 124167, 123969]
    range_m = clip.range_map(0)
    assert range_m.shape == clip.sensor.shape
    assert np.count_nonzero(range_m) > 0.5 * range_m.size
    assert abs(np.median(range_m[range_m > 0]) - np.median(np.linalg.norm(clip.points(0), axis=1))) < 1.0


def test_names_that_are_stamps_are_no_frame_numbers(tmp_path):
    """Their times would be those of frames three billion years from now, and their tables would fill the memory."""
    for stamp in (1616343527200, 1616343527300, 315966265259836000):
        scan(tmp_path / "drive" / "velodyne" / f"{stamp}.bin", cloud())
    (clip,) = open_clips(tmp_path, format="kitti")
    assert clip.frame_ids == ("1616343527200", "1616343527300", "315966265259836000")
    assert clip.timestamps_us[:, 0].tolist() == [0, 100_000, 200_000]
    (bare,) = open_clips(tmp_path / "drive" / "velodyne", format="kitti")
    assert np.array_equal(bare.timestamps_us, clip.timestamps_us)
