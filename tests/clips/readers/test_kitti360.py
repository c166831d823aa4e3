"""A drive in the published layout, written here: a vehicle on a circle, scans as measured, poses of some frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import find_readers, open_clips
from cosmos_lidar.clips.camera_pose import project_sweep
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import compensate_motion
from tests.clips.readers.test_kitti import image, row, scan

DRIVE = "2013_05_28_drive_0003_sync"
SPEED, TURN = 10.0, 0.3  # meters and radians per second
UNIT_SE3_LIDAR = np.array([[1.0, 0, 0, 0.77], [0, -1, 0, -0.31], [0, 0, -1, -0.9], [0, 0, 0, 1]])  # y right, z down
# Camera axes (x right, y down, z forward) are those of the unit, turned: x forward is z, y right is x, z down is y.
UNIT_SE3_CAMERA = {
    f"image_{k:02d}": np.array([[0, 0, 1, 1.5], [1, 0, 0, 0.2 + 0.6 * (k == 1)], [0, 1, 0, -0.7], [0, 0, 0, 1.0]])
    for k in range(4)
}
TILT = np.array([[1, 0, 0, 0], [0, np.cos(0.02), -np.sin(0.02), 0], [0, np.sin(0.02), np.cos(0.02), 0], [0, 0, 0, 1]])
K = np.array([[55.0, 0, 48.0], [0, 55.0, 40.0], [0, 0, 1]])
WORLD = np.array([[30.0, 8, 1], [25, -4, 2], [28, 2, 0.5], [20, 12, 3], [-15, 9, 1], [12, -14, 2]])


def world_SE3_unit(seconds: float) -> np.ndarray:
    """World x east, y north, z up; the unit turns left, its axes y right and z down."""
    angle, pose = TURN * seconds, np.eye(4)
    turned = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    pose[:3, :3] = turned @ np.diag([1.0, -1, -1])
    pose[:3, 3] = SPEED / TURN * np.sin(angle), SPEED / TURN * (1 - np.cos(angle)), 0.0
    return pose


def as_measured(frame: int) -> np.ndarray:
    """The points ``WORLD`` where a lidar sees them that turns clockwise, forward at 0.1 s times the frame."""
    found = []
    for point in WORLD:
        seconds = 0.1 * frame
        for _ in range(20):  # the moment at which the lidar looks at the point
            pose = world_SE3_unit(seconds) @ UNIT_SE3_LIDAR
            seen = pose[:3, :3].T @ (point - pose[:3, 3])
            seconds = 0.1 * frame - 0.1 * np.arctan2(seen[1], seen[0]) / (2 * np.pi)
        found.append(seen)
    return np.array(found)


def clock(seconds: np.ndarray) -> str:
    return "".join(f"2013-05-28 08:46:{second:012.9f}\n" for second in 2.0 + seconds)


def write_drive(root: Path, frames: int = 5, posed: tuple[int, ...] = (0, 1, 3, 4), images: bool = True) -> Path:
    folder = root / "data_3d_raw" / DRIVE / "velodyne_points"
    for frame in range(frames):
        scan(folder / "data" / f"{frame:010d}.bin", np.column_stack([as_measured(frame), np.full(len(WORLD), 0.5)]))
    (folder / "timestamps.txt").write_text(clock(0.1 * np.arange(frames)))
    calibration, poses = root / "calibration", root / "data_poses" / DRIVE
    calibration.mkdir()
    poses.mkdir(parents=True)
    lidar_SE3_camera0 = np.linalg.inv(UNIT_SE3_LIDAR) @ UNIT_SE3_CAMERA["image_00"]
    (calibration / "calib_cam_to_velo.txt").write_text(" ".join(map(str, lidar_SE3_camera0[:3].ravel())) + "\n")
    (calibration / "calib_cam_to_pose.txt").write_text("".join(row(k, p[:3]) for k, p in UNIT_SE3_CAMERA.items()))
    perspective = "calib_time: 09-Jan-2012\n"
    for number in ("00", "01"):
        perspective += row(f"S_rect_{number}", np.array([96.0, 80.0])) + row(f"R_rect_{number}", TILT[:3, :3])
        perspective += row(f"P_rect_{number}", np.column_stack([K, [-33.0 * (number == "01"), 0, 0]]))
    (calibration / "perspective.txt").write_text(perspective)
    write_poses(poses, posed)
    for name, below in (("image_00", "data_rect"), ("image_01", "data_rect"), ("image_02", "data_rgb")):
        for frame in range(frames if images else 0):
            image(root / "data_2d_raw" / DRIVE / name / below / f"{frame:010d}.png", (96, 80))
        if images:
            (root / "data_2d_raw" / DRIVE / name / "timestamps.txt").write_text(clock(0.1 * np.arange(frames) + 0.003))
    return root


def write_poses(folder: Path, frames: tuple[int, ...]) -> None:
    lines, of_camera = "", ""
    for frame in frames:
        pose = world_SE3_unit(0.1 * frame)
        lines += f"{frame} " + " ".join(map(str, pose[:3].ravel())) + "\n"
        rectified = pose @ UNIT_SE3_CAMERA["image_00"] @ np.linalg.inv(TILT)
        of_camera += f"{frame} " + " ".join(map(str, rectified.ravel())) + " \n"
    (folder / "poses.txt").write_text(lines)
    (folder / "cam0_to_world.txt").write_text(of_camera)


def write_sample(root: Path) -> Path:
    """A drive of five scans on the road, one of them without a pose, and three cameras."""
    write_drive(root)
    for frame in range(5):
        angles = np.linspace(0, 2 * np.pi, 60, endpoint=False) + 0.01 * frame
        points = np.column_stack([12 * np.cos(angles), 12 * np.sin(angles), np.full(60, -1.6), np.full(60, 0.4)])
        scan(root / "data_3d_raw" / DRIVE / "velodyne_points/data" / f"{frame:010d}.bin", points)
    return root


@pytest.mark.parametrize("source", ["poses.txt", "cam0_to_world.txt"])
def test_scans_as_measured_and_poses_make_one_world(tmp_path, source):
    write_drive(tmp_path)
    if source == "cam0_to_world.txt":
        (tmp_path / "data_poses" / DRIVE / "poses.txt").unlink()
    (clip,) = open_clips(tmp_path)
    assert (clip.clip_id, clip.format, clip.motion_compensated) == (DRIVE, "kitti360", False)
    assert np.diff(clip.timestamps_us[:, 0]).tolist() == [100_000] * 4
    for index in range(5):
        start, end = clip.world_SE3_lidar[index]
        moved = compensate_motion(clip.points(index).astype(np.float64), clip.sensor, np.linalg.inv(end) @ start)
        assert np.abs(moved @ start[:3, :3].T + start[:3, 3] - WORLD).max() < 0.02


def test_the_axes_of_the_unit_are_turned(tmp_path):
    write_drive(tmp_path)
    (clip,) = open_clips(tmp_path)
    assert np.allclose(clip.lidar.ego_SE3_lidar[:3], [[1, 0, 0, 0.77], [0, 1, 0, 0.31], [0, 0, 1, 0.9]])
    camera = clip.cameras["image_00"]
    assert np.allclose(camera.ego_SE3_camera[:3, 3], [1.5, -0.2, 0.7])


def test_points_are_in_the_images_where_the_cameras_see_them(tmp_path):
    write_drive(tmp_path)
    (clip,) = open_clips(tmp_path)
    assert list(clip.cameras) == ["image_00", "image_01", "image_02"]
    for name, right in (("image_00", 0.2), ("image_01", 0.8)):
        camera = clip.cameras[name]
        assert camera.timestamps_us[1] - camera.timestamps_us[0] == 100_000
        unit = world_SE3_unit(0.1 * 3 + 0.003)
        ahead = (WORLD[:3] - unit[:3, 3]) @ unit[:3, :3] - [1.5, right, -0.7]  # forward, right, down of the camera
        rays = ahead[:, [1, 2, 0]] @ TILT[:3, :3].T
        wanted = (rays @ K.T)[:, :2] / rays[:, 2:]
        found = project_sweep(clip, camera, 3, 3, clip.points(3))
        assert np.abs(found.uv[:3] - wanted).max() < 0.1
    assert clip.cameras["image_02"].model is None
    assert "image_02: no lens, its fisheye model is not read" in clip.notes


def test_frames_without_a_pose_lie_between_their_neighbors_and_stand_at_the_ends(tmp_path):
    write_drive(tmp_path, frames=9, posed=(2, 3, 5))
    (clip,) = open_clips(tmp_path)
    assert "6 of 9 scans have no pose of their own: the vehicle hardly moved" in clip.notes
    middle = clip.world_SE3_lidar[:, :, :3, 3].mean(1)
    inner = (world_SE3_unit(0.4) @ UNIT_SE3_LIDAR)[:3, 3]
    assert np.abs(middle[4] - inner).max() < 0.03
    assert np.allclose(clip.world_SE3_lidar[0, 0], clip.world_SE3_lidar[0, 1])
    assert np.allclose(clip.world_SE3_lidar[7:], clip.world_SE3_lidar[8, 1])


@pytest.mark.parametrize("below", ["", "data_3d_raw", f"data_3d_raw/{DRIVE}", f"data_3d_raw/{DRIVE}/velodyne_points"])
def test_every_folder_of_the_dataset_is_recognized(tmp_path, below):
    write_drive(tmp_path, images=False)
    found = {name: reader.recognise(tmp_path / below) for name, reader in find_readers().items()}
    assert [name for name, strength in found.items() if strength == Strength.EXACT] == ["kitti360"]
    (clip,) = open_clips(tmp_path / below)
    assert clip.world_SE3_lidar is not None


def test_scans_alone(tmp_path):
    scan(tmp_path / DRIVE / "velodyne_points/data/0000000000.bin")
    (clip,) = open_clips(tmp_path)
    assert clip.notes == (
        "no timestamps.txt: frame numbers at the usual rate", "no calibration/: no poses, no cameras"
    )  # fmt: skip
    (tmp_path / DRIVE / "velodyne_points/data/0000000000.bin").unlink()
    with pytest.raises(DataError, match=f"no scan in it.*data, clip {DRIVE}"):
        open_clips(tmp_path)
