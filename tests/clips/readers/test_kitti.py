from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.cli import main
from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.sensors import decompensate_motion

# Lidar axes (x forward, y left, z up) to camera axes (x right, y down, z forward), and a mounting 0.3 m behind.
TURN = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]], float)
TR = np.column_stack([TURN, [0.0, -0.08, -0.3]])
P2 = np.array([[700.0, 0, 50, 42.0], [0, 700.0, 40, 0.14], [0, 0, 1, 0.003]])


def scan(file: Path, points: np.ndarray | None = None) -> np.ndarray:
    if points is None:
        points = np.random.default_rng(len(file.name)).uniform(-40, 40, (50, 4))
    file.parent.mkdir(parents=True, exist_ok=True)
    points.astype("<f4").tofile(file)
    return points.astype(np.float32)


def row(name: str, matrix: np.ndarray) -> str:
    return f"{name}: " + " ".join(f"{value:.9e}" for value in np.ravel(matrix)) + "\n"


def image(file: Path, size: tuple[int, int] = (100, 80)) -> None:
    from PIL import Image

    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 20, 30)).save(file)


def odometry(root: Path, frames: int = 4, poses: bool = True, step_m: float = 1.0) -> Path:
    """Write a sequence that drives forward; camera z is forward. Every scan holds one point, 10 m ahead."""
    folder = root / "sequences" / "03"
    for k in range(frames):
        scan(folder / "velodyne" / f"{k:06d}.bin", np.array([[10.0, 1.0, 0.5, 0.25]]))
        image(folder / "image_2" / f"{k:06d}.png")
    (folder / "times.txt").write_text("".join(f"{0.1 * k:e}\n" for k in range(frames)))
    (folder / "calib.txt").write_text(row("P2", P2) + row("Tr", TR))
    if poses:
        (root / "poses").mkdir()
        lines = [" ".join(map(str, np.column_stack([np.eye(3), [0, 0, step_m * k]]).ravel())) for k in range(frames)]
        (root / "poses" / "03.txt").write_text("\n".join(lines) + "\n")
    return folder


def write_sample(root: Path) -> Path:
    """A sequence with poses, images and labels, of points around the car on the road."""
    folder = odometry(root)
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 60)
    points = np.column_stack([12 * np.cos(angles), 12 * np.sin(angles), np.full(60, -1.6), np.full(60, 0.4)])
    for k in range(4):
        scan(folder / "velodyne" / f"{k:06d}.bin", points)
    (folder / "labels").mkdir()
    np.full(60, (7 << 16) | 10, "<u4").tofile(folder / "labels" / "000003.label")
    return root


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


def test_odometry_points_are_moved_from_the_middle_to_the_start(tmp_path):
    odometry(tmp_path)
    (clip,) = open_clips(tmp_path)
    sweep = clip.read_sweep(2)
    assert np.allclose(sweep.points, [[10.5, 1.0, 0.5]], atol=1e-5)
    in_world = clip.world_SE3_lidar[2, 0] @ [*sweep.points[0], 1.0]
    assert np.allclose(in_world[:3], [12.0, 1.0, 0.5], atol=1e-5)
    assert sweep.intensity.tolist() == [0.25]


def test_odometry_camera(tmp_path):
    odometry(tmp_path)
    (clip,) = open_clips(tmp_path)
    camera = clip.cameras["image_2"]
    assert len(camera) == 4
    assert camera.timestamps_us.tolist() == [0, 100_000, 200_000, 300_000]
    # A point of frame 1 (as published: at the moment of the image) through P2 and Tr, by hand.
    point = np.array([10.0, 1.0, 0.5, 1.0])
    wanted = P2 @ np.vstack([TR, [0, 0, 0, 1]]) @ point
    uv, depth = camera.model.project((np.linalg.inv(camera.lidar_SE3_camera) @ point)[None, :3])
    assert np.allclose(uv[0], wanted[:2] / wanted[2], atol=1e-6)
    assert np.isclose(depth[0], wanted[2])
    in_world = clip.world_SE3_lidar[1, 0] @ [*clip.read_sweep(1).points[0], 1.0]
    again, _ = camera.model.project((np.linalg.inv(camera.world_SE3_camera[1]) @ in_world)[None, :3])
    assert np.allclose(again, uv, atol=1e-3)
    assert camera.read(3)[0, 0].tolist() == [10, 20, 30]


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


def test_semantic_labels(tmp_path):
    folder = odometry(tmp_path, poses=False)
    (folder / "labels").mkdir()
    np.array([5 << 16 | 252], "<u4").tofile(folder / "labels" / "000001.label")
    (clip,) = open_clips(folder)
    assert clip.notes == ("no poses",)
    assert clip.read_sweep(1).labels.tolist() == [252]
    assert clip.read_sweep(1).labels.dtype == np.uint16
    assert clip.read_sweep(1).instance.tolist() == [5]
    assert clip.read_sweep(0).labels is None
    np.array([1, 2], "<u4").tofile(folder / "labels" / "000001.label")
    with pytest.raises(DataError, match="8 bytes of labels for 1 points.*000001.label, clip 03"):
        clip.read_sweep(1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("times.txt", "0.0\n0.1\n", "2 times for frame numbers up to 3.*times.txt, clip 03"),
        ("times.txt", "0.0\nnow\n", "not readable.*now.*times.txt, clip 03"),
        ("times.txt", "", "the file is empty.*times.txt"),
        ("calib.txt", "P2: 1 2 3\n", "row missing.*calib.txt, clip 03, key Tr"),
        ("calib.txt", "Tr: 1 2 3\n", "3 numbers.*calib.txt, clip 03, key Tr.*12 finite"),
        ("calib.txt", "\n", "no calibration row.*calib.txt"),
        ("../../poses/03.txt", "1 0 0\n", "not readable: 3 numbers.*03.txt, clip 03, key line 1.*12 numbers"),
        ("../../poses/03.txt", "1 0 0 0 0 1 0 0 0 0 1 0\n", "1 poses for 4 frames.*03.txt"),
    ],
)
def test_broken_text_files(tmp_path, name, content, message):
    folder = odometry(tmp_path)
    (folder / name).write_text(content)
    with pytest.raises(DataError, match=message):
        open_clips(tmp_path)


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


def cloud(count: int = 3000, seed: int = 0) -> np.ndarray:
    """Points x y z intensity that an HDL-64E could see, in random order."""
    rng = np.random.default_rng(seed)
    turn, rise, far = (
        rng.uniform(-np.pi, np.pi, count),
        np.radians(rng.uniform(-24, 2, count)),
        rng.uniform(4, 60, count),
    )
    flat = far * np.cos(rise)
    xyz = [flat * np.cos(turn), flat * np.sin(turn), far * np.sin(rise)]
    return np.stack([*xyz, rng.random(count)], 1).astype(np.float32)


def test_a_file_without_a_byte_is_a_damaged_sweep(tmp_path):
    for k in range(9):
        scan(tmp_path / f"{k:06d}.bin", cloud() if k != 3 else np.zeros((0, 4)))
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


def raw(root: Path, suffix: str = "sync") -> Path:
    """Write a drive that goes north at 10 m/s with yaw 90 degrees (x forward is north), frame 2 of 5 missing."""
    day = root / "2011_09_26"
    drive = day / f"2011_09_26_drive_0009_{suffix}"
    clock = "2011-09-26 13:00:0{:.6f}000"
    for k in range(5):
        if k != 2:
            scan(drive / "velodyne_points" / "data" / f"{k:010d}.bin", np.array([[5.0, 0, 0, 1.0]]))
        image(drive / "image_02" / "data" / f"{k:010d}.png")
        record = drive / "oxts" / "data" / f"{k:010d}.txt"
        record.parent.mkdir(parents=True, exist_ok=True)
        north = np.degrees(1.0 * k / 6378137.0)
        record.write_text(f"{north:.12f} 8.0 110.0 0 0 {np.pi / 2} 1 2 3\n")
    for name, shift in (("timestamps", 0.05), ("timestamps_start", 0.0), ("timestamps_end", 0.1)):
        times = [clock.format(0.1 * k + shift) for k in range(5)]
        (drive / "velodyne_points" / f"{name}.txt").write_text("\n".join(times) + "\n")
    middle = [clock.format(0.1 * k + 0.05) for k in range(5)]
    for folder in ("oxts", "image_02"):
        (drive / folder / "timestamps.txt").write_text("\n".join(middle) + "\n")
    (day / "calib_imu_to_velo.txt").write_text(
        "calib_time: 25-May-2012\n" + row("R", np.eye(3)) + row("T", np.array([0.8, 0, 0]))
    )
    (day / "calib_velo_to_cam.txt").write_text(row("R", TR[:, :3]) + row("T", TR[:, 3]))
    (day / "calib_cam_to_cam.txt").write_text(row("R_rect_00", np.eye(3)) + row("P_rect_02", P2))
    return drive


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


def test_real_odometry_scans(test_data):
    (clip,) = open_clips(test_data / "kitti_velodyne")
    assert [len(clip.points(k)) for k in range(5)] == [124668, 124605, 124478, 124167, 123969]
    range_m = clip.range_map(0)
    assert range_m.shape == clip.sensor.shape
    assert np.count_nonzero(range_m) > 0.5 * range_m.size
    assert abs(np.median(range_m[range_m > 0]) - np.median(np.linalg.norm(clip.points(0), axis=1))) < 1.0


def test_real_semantic_labels(test_data):
    (clip,) = open_clips(test_data / "semantickitti")
    sweep = clip.read_sweep(0)
    assert clip.clip_id == "08"
    assert len(sweep.points) == len(sweep.labels) == 123389
    assert set(np.unique(sweep.labels)) == {0, 1, 10, 11, 30, 40, 44, 48, 50, 51, 52, 70, 71, 72, 80, 81, 99, 252, 254}
    road = np.median(sweep.points[sweep.labels == 40, 2])
    assert -2.0 < road < -1.5  # the scanner is 1.73 m above the road


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


def test_real_scans_refer_to_the_middle_of_a_clockwise_sweep(test_data, tmp_path):
    """As measured, azimuth advances in equal steps; compensation bends them where the range jumps, to the sides."""
    folder = odometry(tmp_path, frames=5, step_m=0.7)  # the motion that registration of these scans gives
    for file in (folder / "velodyne").iterdir():
        shutil.copy(test_data / "kitti_velodyne" / "velodyne" / file.name, file)
    (clip,) = open_clips(tmp_path)
    start, end = clip.world_SE3_lidar[2]
    points = clip.read_sweep(2).points.astype(np.float64)
    stored = points - [0.35, 0, 0]
    seen = decompensate_motion(points, clip.sensor, np.linalg.inv(end) @ start)

    ranges, azimuth = np.hypot(stored[:, 0], stored[:, 1]), np.arctan2(stored[:, 1], stored[:, 0])
    nearer = np.minimum(ranges[1:], ranges[:-1])
    edge = (np.abs(np.diff(ranges)) > 0.25 * nearer) & (nearer < 15) & (np.abs(np.sin(azimuth[1:])) > 0.7)
    edge &= np.abs(np.degrees(np.diff(azimuth))) < 0.6

    def unevenness_deg(points: np.ndarray) -> float:
        steps = np.degrees(np.diff(np.unwrap(np.arctan2(points[:, 1], points[:, 0]))))
        usual = np.median(steps)
        return float(np.mean(np.abs(steps[edge] - np.maximum(np.round(steps[edge] / usual), 1) * usual)))

    assert edge.sum() > 200
    assert unevenness_deg(stored) > 0.2
    assert unevenness_deg(seen) < 0.08  # 0.19 and more for references a quarter of a sweep off, or the other direction
