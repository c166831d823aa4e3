from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.errors import DataError
from tests.clips.readers.test_nuscenes import (
    FIRST_US,
    STEP_US,
    real_file,
    tables,
    turning,
)


def test_bare_folder_takes_times_from_names(tmp_path):
    folder = tmp_path / "LIDAR_TOP"
    folder.mkdir()
    for stamp in (FIRST_US + STEP_US, FIRST_US, FIRST_US + 3 * STEP_US, FIRST_US + 10_000_000):
        np.zeros((3, 5), "<f4").tofile(folder / f"n015-x+0800__LIDAR_TOP__{stamp}.pcd.bin")
    first, second = open_clips(folder)
    assert (first.clip_id, second.clip_id) == ("n015-x+0800_000", "n015-x+0800_001")
    assert (first.timestamps_us - FIRST_US).tolist() == [[-STEP_US, 0], [0, STEP_US], [2 * STEP_US, 3 * STEP_US]]
    assert open_clips(tmp_path)[0].clip_id == first.clip_id
    (folder / "points.pcd.bin").write_bytes(b"")
    with pytest.raises(DataError, match="no stamp in the file name.*points.pcd.bin"):
        open_clips(folder)


def test_points_without_return_hidden_files_and_other_columns(tmp_path):
    folder = tmp_path / "LIDAR_TOP"
    folder.mkdir()
    points = turning()
    for k in range(3):
        chosen = points.copy()
        if k == 1:
            chosen[::4, k] = np.nan
        name = f"log__LIDAR_TOP__{FIRST_US + k * STEP_US}.pcd.bin"
        (chosen[:, :4] if k == 2 else chosen).tofile(folder / name)
        (folder / f"._{name}").write_bytes(b"Mac OS X")
    (clip,) = open_clips(tmp_path)
    assert len(clip) == 3
    kept = np.arange(len(points)) % 4 > 0
    sweep = clip.read_sweep(1)
    assert np.array_equal(sweep.points, clip.read_sweep(0).points[kept])
    assert np.array_equal(sweep.ring, points[kept, 4])
    with pytest.raises(DataError, match="looks like 4 float32 per point, not 5.*--columns 4"):
        clip.read_sweep(2)
    (stated,) = open_clips(tmp_path, columns=4)
    assert (stated.read_sweep(2).ring, len(stated.points(2))) == (None, len(points))


def test_real_sweep_in_tables_and_bare(test_data, tmp_path):
    (bare,) = open_clips(test_data / "nuscenes")
    assert bare.clip_id == "n015-2018-07-24-11-22-45+0800"
    assert bare.frame_ids == ("1532402927647951",)
    points = bare.points(0)
    assert points.shape == (34688, 3)
    tables(tmp_path, sweeps=2, real=real_file(test_data))
    (clip,) = open_clips(tmp_path)
    assert np.allclose(clip.points(1), points + [1.0, 0, 0], atol=1e-4)
    assert clip.read_sweep(0).intensity.max() == 255


def test_real_sweep_shows_axes_and_reference(test_data):
    """The first firing looks left, and was moved more than the last one: the reference is the end of the sweep."""
    (clip,) = open_clips(test_data / "nuscenes")
    points = clip.points(0)
    azimuth = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    near = np.linalg.norm(points[:32], axis=1) < 2.0
    assert np.all(np.abs(azimuth[:32][~near] - 90) < 10)
    assert np.ptp(azimuth[:24]) > 5.0  # the nearer the point, the farther it was turned by the motion
    last = azimuth[-32:][np.linalg.norm(points[-32:], axis=1) > 3.0]
    assert np.all(np.abs(last - 90) < 0.5)


def test_a_stamp_that_is_no_time(tmp_path):
    np.zeros((3, 5), "<f4").tofile(tmp_path / f"log__LIDAR_TOP__{10**30}.pcd.bin")
    with pytest.raises(DataError, match="no stamp in the file name"):
        open_clips(tmp_path)
