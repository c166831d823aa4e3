"""Tables beside the videos of the guide's folder, in tars as its converter writes them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips.multiview_tables import camera_of, frame_numbers, read_poses, read_timestamps
from cosmos_lidar.errors import DataError


def write_tar(file: Path, members: dict[str, bytes | np.ndarray]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as tar:
        for name, content in members.items():
            if isinstance(content, np.ndarray):
                buffer = io.BytesIO()
                np.save(buffer, content)
                content = buffer.getvalue()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def stamps(root: Path, *times: int | str) -> None:
    members = {f"c.{3 * k:06d}.timestamp_micros.txt": str(time).encode() for k, time in enumerate(times)}
    write_tar(root / "timestamp" / "c.tar", members)


def test_times_by_their_numbers(tmp_path) -> None:
    stamps(tmp_path, 1_000_000, 1_100_000, 1_200_001)
    assert read_timestamps(tmp_path, "c", 3) == {0: 1_000_000, 3: 1_100_000, 6: 1_200_001}
    assert read_timestamps(tmp_path, "d", 3) is None


def test_frames_count_at_30_hz_and_never_share_a_number() -> None:
    assert frame_numbers(4, 10.0).tolist() == [0, 3, 6, 9]
    assert frame_numbers(4, 12.0).tolist() == [0, 2, 5, 8]
    assert frame_numbers(3, 60.0).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("times", "problem"),
    [
        ((1, 2), "2 times for 3 frames"),
        ((1, 3, 3), "times that do not increase"),
        ((1, "2.5", 3), "'2.5'.*000003"),
        ((1, "9" * 40, 3), "c.tar.*000003"),
    ],
)
def test_other_times_are_refused(tmp_path, times, problem) -> None:
    stamps(tmp_path, *times)
    with pytest.raises(DataError, match=f"(?s){problem}") as caught:
        read_timestamps(tmp_path, "c", 3)
    assert "c.tar" in str(caught.value)


def test_poses_of_a_camera_at_its_frames(tmp_path) -> None:
    poses = np.tile(np.eye(4), (7, 1, 1))
    poses[:, 0, 3] = np.arange(7)
    members = {f"c.{key:06d}.pose.{name}.npy": pose for name in ("front", "left") for key, pose in enumerate(poses)}
    write_tar(tmp_path / "pose" / "c.tar", members)
    assert np.array_equal(read_poses(tmp_path, "c", "left", [0, 3, 6]), poses[[0, 3, 6]])
    assert read_poses(tmp_path, "c", "rear", [0]) is None
    assert read_poses(tmp_path, "d", "left", [0]) is None
    with pytest.raises(DataError, match=r"member missing.*c\.000009\.pose\.left\.npy"):
        read_poses(tmp_path, "c", "left", [0, 9])


@pytest.mark.parametrize("wrong", [np.eye(3), 2 * np.eye(4), np.full((4, 4), np.nan), np.eye(4, dtype=int)])
def test_matrices_that_are_no_poses_are_refused(tmp_path, wrong) -> None:
    write_tar(tmp_path / "pose" / "c.tar", {"c.000000.pose.front.npy": wrong})
    with pytest.raises(DataError, match=r"c\.tar.*c\.000000\.pose\.front\.npy.*rigid"):
        read_poses(tmp_path, "c", "front", [0])


def test_names_of_cameras() -> None:
    assert [camera_of(name) for name in ("pinhole_front", "ftheta_rear", "left")] == ["front", "rear", "left"]
