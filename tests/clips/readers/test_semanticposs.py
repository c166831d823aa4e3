"""Scans with tags as SemanticPOSS has them, written here: a byte per pixel, points row by row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import find_readers, open_clips
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import load_sensor
from tests.clips.readers.test_kitti import row, scan


def write_scan(folder: Path, frame: int, seed: int = 0, offset: tuple[float, float, float] = (0, 0, 0)) -> np.ndarray:
    """Write a scan that the Pandora's beams could see, its tag and its labels; return the row of each point."""
    rng = np.random.default_rng(seed)
    seen = rng.random((40, 1800)) < 0.05
    rows, columns = np.nonzero(seen)
    sensor = load_sensor("hesai_pandora40")
    azimuth = np.pi - (columns + 0.5) * 2 * np.pi / 1800 + sensor.row_azimuth_offsets_rad[rows]
    elevation, far = sensor.row_elevations_rad[rows], rng.uniform(5, 60, len(rows))
    flat = far * np.cos(elevation)
    xyz = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), far * np.sin(elevation)], 1) - offset
    scan(folder / "velodyne" / f"{frame:06d}.bin", np.column_stack([xyz, rng.uniform(0, 255, len(rows))]))
    (folder / "tag").mkdir(exist_ok=True)
    seen.astype(np.uint8).tofile(folder / "tag" / f"{frame:06d}.tag")
    (folder / "labels").mkdir(exist_ok=True)
    (np.arange(len(rows), dtype="<u4") % 23 | 5 << 16).tofile(folder / "labels" / f"{frame:06d}.label")
    return rows


def write_sample(root: Path) -> Path:
    """A sequence that goes 1 m forward per scan, with poses in the axes of the lidar."""
    folder = root / "dataset" / "sequences" / "02"
    for frame in range(3):
        write_scan(folder, frame)
    (folder / "calib.txt").write_text(row("Tr", np.eye(3, 4)))
    poses = [" ".join(map(str, np.column_stack([np.eye(3), [k, 0, 0]]).ravel())) for k in range(3)]
    (folder / "poses.txt").write_text("\n".join(poses) + "\n")
    return root


def test_points_have_ring_class_and_instance(tmp_path):
    write_sample(tmp_path)
    (clip,) = open_clips(tmp_path)
    assert (clip.clip_id, clip.format, clip.sensor.name) == ("02", "semanticposs", "hesai_pandora40")
    sweep = clip.read_sweep(1)
    rows = write_scan(tmp_path / "again", 0)
    assert np.array_equal(sweep.ring, rows)
    assert np.array_equal(sweep.labels, np.arange(len(rows)) % 23)
    assert set(sweep.instance) == {5}
    assert "taken for granted: x forward, y left, z up, points as measured" in clip.notes[0]


def test_every_ring_is_a_row_of_the_sensor(tmp_path):
    write_sample(tmp_path)
    (clip,) = open_clips(tmp_path)
    sweep = clip.read_sweep(0)
    found = clip.project(sweep, 0)
    row_of, _ = np.nonzero(found.point_index >= 0)
    chosen = found.point_index[found.point_index >= 0]
    assert len(chosen) > 0.999 * len(sweep.points)
    assert np.array_equal(row_of, sweep.ring[chosen])


def test_points_are_as_measured_and_poses_those_of_the_file(tmp_path):
    write_sample(tmp_path)
    (clip,) = open_clips(tmp_path)
    assert not clip.motion_compensated
    assert np.allclose(clip.world_SE3_lidar[1, :, 0, 3], [0.5, 1.5])  # the pose is that of the middle of the scan
    file = tmp_path / "dataset/sequences/02/velodyne/000001.bin"
    assert np.array_equal(clip.points(1), np.fromfile(file, "<f4").reshape(-1, 4)[:, :3])


def test_one_world_of_a_vehicle_that_moves(tmp_path):
    """The same wall seen from three places, by points at the middle of each scan."""
    folder = tmp_path / "sequences" / "00"
    for frame in range(3):
        write_scan(folder, frame, offset=(float(frame), 0.0, 0.0))
    (folder / "calib.txt").write_text(row("Tr", np.eye(3, 4)))
    poses = [" ".join(map(str, np.column_stack([np.eye(3), [k, 0, 0]]).ravel())) for k in range(3)]
    (folder / "poses.txt").write_text("\n".join(poses) + "\n")
    (clip,) = open_clips(tmp_path)
    middle = clip.world_SE3_lidar.mean(1)
    world = [clip.points(k) @ middle[k, :3, :3].T + middle[k, :3, 3] for k in range(3)]
    assert np.abs(world[1] - world[0]).max() < 1e-4
    assert np.abs(world[2] - world[0]).max() < 1e-4


def test_it_is_neither_kitti_nor_semantickitti(tmp_path):
    write_sample(tmp_path)
    found = {name: reader.recognise(tmp_path) for name, reader in find_readers().items()}
    assert found["semanticposs"] == Strength.EXACT
    assert max(found["kitti"], found["semantickitti"]) < Strength.EXACT


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda tag: tag[:-1], "71999 bytes, .* of them not 0.*000001.tag, clip 02.*72000 bytes, 0 or 1"),
        (lambda tag: tag * 2, "72000 bytes.*000001.tag"),
        (lambda tag: np.ones_like(tag), "72000 of them not 0, for .* points.*000001.tag"),
        (lambda tag: tag[:0], "0 bytes, 0 of them not 0.*000001.tag"),
    ],
)
def test_broken_tags(tmp_path, spoil, message):
    write_sample(tmp_path)
    file = tmp_path / "dataset/sequences/02/tag/000001.tag"
    spoil(np.fromfile(file, np.uint8)).tofile(file)
    (clip,) = open_clips(tmp_path)
    assert clip.read_sweep(0).ring is not None
    with pytest.raises(DataError, match=message):
        clip.read_sweep(1)


def test_a_scan_without_tag_truncated_or_empty(tmp_path):
    write_sample(tmp_path)
    folder = tmp_path / "dataset/sequences/02"
    (folder / "tag/000002.tag").unlink()
    (clip,) = open_clips(tmp_path)
    assert "1 of 3 scans have no tag file: no rings" in clip.notes
    assert clip.read_sweep(2).ring is None
    file = folder / "velodyne/000000.bin"
    file.write_bytes(file.read_bytes()[:-3])
    (folder / "velodyne/000001.bin").write_bytes(b"")
    with pytest.raises(DataError, match="no whole number of points.*000000.bin, clip 02"):
        clip.read_sweep(0)
    with pytest.raises(DataError, match="the file is empty.*000001.bin, clip 02"):
        clip.read_sweep(1)
    unread = [problem for problem in check_clip(clip).problems if " bytes" in problem]
    assert len(unread) == 2
