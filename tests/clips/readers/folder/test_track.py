from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.poses import pose_from_quaternion
from cosmos_lidar.clips.readers.folder.track import at_sweeps, read_stamps, read_track, stamps_of_names
from cosmos_lidar.errors import DataError

HALF = 0.5**0.5
QUATERNIONS = [(0, 0, 0, 1), (0, 0, HALF, HALF)]  # x y z w: straight on, a quarter turn to the left
POSES = np.stack([pose_from_quaternion([q[3], *q[:3]], [5 * k, 1, 0]) for k, q in enumerate(QUATERNIONS)])
TUM = [[1_700_000_000 + k / 10, 5 * k, 1, 0, *q] for k, q in enumerate(QUATERNIONS)]
START_US = 1_700_000_000_000_000


def text(rows, separator=" ") -> str:
    return "".join(separator.join(f"{value:.12g}" for value in row) + "\n" for row in rows)


@pytest.mark.parametrize("numbers", [12, 16])
@pytest.mark.parametrize("name", ["poses.txt", "poses.csv", "poses.npy"])
def test_matrices_one_per_sweep(name, numbers, tmp_path):
    rows = POSES.reshape(2, 16)[:, :numbers]
    if name.endswith("npy"):
        np.save(tmp_path / name, rows.reshape(2, -1, 4))
    else:
        (tmp_path / name).write_text(text(rows, "," if name.endswith("csv") else " "))
    track = read_track(tmp_path / name, "c")
    assert track.times_us is None
    assert np.allclose(track.poses, POSES)


@pytest.mark.parametrize("name", ["poses.txt", "poses.csv", "poses.npy", "named.csv"])
def test_poses_with_times(name, tmp_path):
    if name.endswith("npy"):
        np.save(tmp_path / name, np.array(TUM))
    elif name == "named.csv":
        rows = [[f"{row[0] * 1e3:.0f}", *map(str, row[1:])] for row in TUM]
        lines = [",".join(reversed(row)) for row in [["timestamp_ms", "x", "y", "z", "qx", "qy", "qz", "qw"], *rows]]
        (tmp_path / name).write_text("\n".join(lines))
    else:
        (tmp_path / name).write_text(text(TUM, "," if name.endswith("csv") else " "))
    track = read_track(tmp_path / name, "c")
    assert np.abs(track.times_us - (START_US + np.array([0, 100_000]))).max() <= 1
    assert np.allclose(track.poses, POSES)


def test_poses_between_poses(tmp_path):
    (tmp_path / "poses.txt").write_text(text([[k, *row[1:]] for k, row in enumerate(TUM)]))  # TUM: seconds
    track = read_track(tmp_path / "poses.txt", "c")
    found = at_sweeps(track, np.array([[0, 500_000]]), tmp_path, "c")
    eighth = pose_from_quaternion([np.cos(np.pi / 8), 0, 0, np.sin(np.pi / 8)], [2.5, 1, 0])
    assert np.allclose(found[0], [POSES[0], eighth])


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([[1, 2, 3]], "3 numbers per row .*row 1"),
        ([[2.0, *[0] * 11]], "no rigid motion .*row 1"),
        ([TUM[0], [*TUM[1][:4], 0, 0, 0, 2]], "quaternion of length 2 .*row 2"),
        ([TUM[1], TUM[0]], "not after that before .*row 2"),
        ([TUM[0], [float("nan"), *TUM[1][1:]]], "row 2"),
    ],
)
def test_poses_that_cannot_be_are_refused(rows, problem, tmp_path):
    (tmp_path / "poses.txt").write_text(text(rows))
    with pytest.raises(DataError, match=problem) as raised:
        read_track(tmp_path / "poses.txt", "c")
    assert "poses.txt, clip c" in str(raised.value)


def test_other_tables_and_arrays_are_refused(tmp_path):
    (tmp_path / "poses.csv").write_text("a,qx,qy,qz,qw\n1,0,0,0,1\n")
    with pytest.raises(DataError, match="columns a, qx"):
        read_track(tmp_path / "poses.csv", "c")
    np.save(tmp_path / "poses.npy", np.full((2, 4, 4), np.nan))
    with pytest.raises(DataError, match=r"poses\.npy"):
        read_track(tmp_path / "poses.npy", "c")
    (tmp_path / "poses.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"poses\.npy"):
        read_track(tmp_path / "poses.npy", "c")


def test_poses_that_do_not_fit_the_sweeps_are_refused(tmp_path):
    (tmp_path / "poses.txt").write_text(text(TUM))
    track = read_track(tmp_path / "poses.txt", "c")
    with pytest.raises(DataError, match="poses from 17.* sweeps from 0 to 0 us"):
        at_sweeps(track, np.array([[0, 100_000]]), tmp_path, "c")
    (tmp_path / "poses.txt").write_text(text(POSES.reshape(2, 16)))
    with pytest.raises(DataError, match="2 poses for 1 sweeps"):
        at_sweeps(read_track(tmp_path / "poses.txt", "c"), np.array([[0, 100_000]]), tmp_path, "c")


def test_stamps_of_files(tmp_path):
    file = tmp_path / "timestamps.csv"
    file.write_text("frame,timestamp [us]\na,5\nb,7\n")
    assert read_stamps(file, 2, "c")[0].tolist() == [5, 7]
    file.write_text("0.0\n0.1\n")
    found, how = read_stamps(file, 2, "c")
    assert (found.tolist(), how) == ([0, 100_000], "s by their median step")
    with pytest.raises(DataError, match=r"2 rows for 3 sweeps .*timestamps\.csv, clip c, key rows"):
        read_stamps(file, 3, "c")
    for content, problem in (
        ("a b\n1 2\n", "columns a, b"),
        ("1 2\n", "2 columns without names"),
        ("0\n5e10\n", "no unit"),
    ):
        file.write_text(content)
        with pytest.raises(DataError, match=problem):
            read_stamps(file, content.count("\n") - (content[0] == "a"), "c")


def test_stamps_of_names():
    assert stamps_of_names(["1700000000.5", "1700000000.6"])[0].tolist() == [START_US + 500_000, START_US + 600_000]
    assert stamps_of_names(["000000", "000001"]) is None
    assert stamps_of_names(["a", "b"]) is None
