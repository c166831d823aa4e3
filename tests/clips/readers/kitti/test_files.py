from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.readers.kitti import files as text
from cosmos_lidar.errors import DataError
from tests.clips.readers.test_kitti import P2, TR, odometry, row


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


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("calib.txt", row("P2", P2) + row("Tr", np.zeros(12)), "no rigid motion.*calib.txt, clip 03, key Tr"),
        ("calib.txt", row("P2", np.zeros(12)) + row("Tr", TR), "no lens: Singular.*calib.txt, clip 03, key P2"),
        ("calib.txt", row("P2", -P2) + row("Tr", TR), "no lens: not a camera.*calib.txt, clip 03, key P2"),
        ("calib.txt", row("Tr", TR), "row missing.*calib.txt, clip 03, key P2"),
    ],
)
def test_numbers_that_are_no_calibration(tmp_path, name, content, message):
    folder = odometry(tmp_path)
    (folder / name).write_text(content)
    with pytest.raises(DataError, match=message):
        open_clips(tmp_path)


def test_navigation_is_a_map_of_the_neighborhood(tmp_path):
    """By arc lengths on a sphere: a step of one second of arc north, and one east, at 49 degrees."""
    arc = np.radians(1 / 3600)
    records = [
        (49.0, 8.4, 110.0, 0, 0, 0),
        (49.0 + 1 / 3600, 8.4, 111.0, 0, 0, 0),
        (49.0, 8.4 + 1 / 3600, 110.0, 0.1, 0.2, 0.3),
    ]
    files = []
    for number, record in enumerate(records):
        files.append(tmp_path / f"{number}.txt")
        files[-1].write_text(" ".join(map(str, record)) + " 1 2 3\n")
    poses = text.read_navigation(files, "clip")
    assert np.allclose(poses[0], np.eye(4))
    assert np.allclose(poses[1, :3, 3], [0, 6378137 * arc, 1.0], atol=1e-3)
    assert np.allclose(poses[2, :3, 3], [6378137 * arc * np.cos(np.radians(49)), 0, 0], atol=1e-3)
    forward = [np.cos(0.3) * np.cos(0.2), np.sin(0.3) * np.cos(0.2), -np.sin(0.2)]  # yaw, then pitch: x of the unit
    assert np.allclose(poses[2, :3, 0], forward)
    files[1].write_text("49 8.4\n")
    with pytest.raises(DataError, match="2 numbers.*1.txt, clip clip.*latitude longitude altitude roll pitch yaw"):
        text.read_navigation(files, "clip")


def test_times_of_lines(tmp_path):
    file = tmp_path / "timestamps.txt"
    file.write_text("2011-09-26 13:02:25.594360375\n\n1970-01-01 00:00:01.5\n")
    assert text.read_clock_times(file, "clip").tolist() == [1317042145594360, text.NO_TIME, 1_500_000]
    file.write_text("0.1\n\n2e-1\n")
    assert text.read_times_s(file, "clip").tolist() == [100_000, text.NO_TIME, 200_000]
    with pytest.raises(DataError, match="cannot be read: No such file.*none.txt, clip clip"):
        text.read_times_s(tmp_path / "none.txt", "clip")


def test_poses_that_are_no_motion(tmp_path):
    odometry(tmp_path)
    lines = (tmp_path / "poses" / "03.txt").read_text().splitlines()
    (tmp_path / "poses" / "03.txt").write_text("\n".join([*lines[:2], "0 " * 12, lines[3]]) + "\n")
    with pytest.raises(DataError, match="no rigid motion.*03.txt, clip 03, key line 3"):
        open_clips(tmp_path)


def test_projections_of_cameras_that_look_elsewhere(tmp_path) -> None:
    lens = np.array([[700.0, 0, 50], [0, 710.0, 40], [0, 0, 1]])
    angle = np.radians(100.0)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    rows = {"P2": (lens @ np.column_stack([turn, [0.5, -0.1, 0.2]])).ravel()}
    model, mounting = text.split_projection(rows, "P2", (100, 80), tmp_path / "calib.txt", None)
    assert np.allclose((model.fx, model.fy, model.cx, model.cy), (700, 710, 50, 40), rtol=1e-12)
    assert np.allclose(mounting[:3], np.column_stack([turn, [0.5, -0.1, 0.2]]), atol=1e-12)
    mirrored, skewed = lens @ np.diag([1.0, 1.0, -1.0]), lens + [[0, 5, 0], [0, 0, 0], [0, 0, 0]]
    for wrong, problem in ((mirrored @ turn, "no K R"), (skewed @ turn, "skewed"), (3 * lens @ turn, "no K R")):
        rows = {"P2": np.column_stack([wrong, np.zeros(3)]).ravel()}
        with pytest.raises(DataError, match=f"{problem}.*P2"):
            text.split_projection(rows, "P2", (100, 80), tmp_path / "calib.txt", None)


def test_cameras_of_images_that_are_not_rectified(tmp_path) -> None:
    file = tmp_path / "calib_cam_to_cam.txt"
    rows = {"K_02": np.array([700.0, 0, 50, 0, 710, 40, 0, 0, 1]), "D_02": np.array([-0.3, 0.1, 0.001, 0.002, 0.01]),
            "R_02": np.eye(3).ravel(), "T_02": np.array([0.06, 0, 0])}  # fmt: skip
    model, mounting = text.raw_camera(rows, "02", (100, 80), file, None)
    assert model.distortion == (-0.3, 0.1, 0.001, 0.002, 0.01)
    assert (model.fx, model.fy, model.cx, model.cy) == (700, 710, 50, 40)
    assert np.array_equal(mounting[:3, 3], [0.06, 0, 0])
    assert text.raw_camera(rows, "03", (100, 80), file, None) is None
    for key, values in (("D_02", np.zeros(4)), ("K_02", np.zeros(9)), ("R_02", 2 * np.eye(3).ravel())):
        with pytest.raises(DataError, match=rf"calib_cam_to_cam\.txt.*{key}"):
            text.raw_camera({**rows, key: values}, "02", (100, 80), file, None)
    del rows["T_02"]
    with pytest.raises(DataError, match="T_02"):
        text.raw_camera(rows, "02", (100, 80), file, None)
