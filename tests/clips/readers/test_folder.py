"""Folders of clouds of every kind, with and without what may lie beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.clips.readers import folder as reader
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import load_sensor
from tests.clips.point_formats.encoders import table, write_pcd, write_ply

START_US = 1_700_000_000_000_000
ENDINGS = ["pcd", "ply", "npy", "npz", "drc"]


def write_sample(root: Path) -> Path:
    """Three sweeps with stamps and poses, two clouds of another drive; returns the folder of both."""
    drive = root / "drives" / "one"
    for index in (9, 10, 11):
        write_cloud(drive / f"{index}.pcd", index)
    (drive / "timestamps.txt").write_text("".join(f"{1_700_000_000 + k / 10:.1f}\n" for k in range(3)))
    (drive / "poses.txt").write_text("".join(f"1 0 0 {k / 2} 0 1 0 0 0 0 1 0\n" for k in range(3)))
    for index in range(2):
        write_cloud(root / "drives" / "two" / f"{index}.ply", index)
    return root / "drives"


def write_cloud(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cloud = table(seed=seed)
    if path.suffix in (".pcd", ".ply"):
        return (write_pcd if path.suffix == ".pcd" else write_ply)(path, cloud)
    points = np.stack([cloud[name] for name in ("x", "y", "z", "intensity")], 1)
    if path.suffix == ".npy":
        np.save(path, points)
    elif path.suffix == ".npz":
        np.savez(path, points=points[:, :3], **{name: cloud[name] for name in ("intensity", "ring", "t")})
    elif path.suffix == ".bin":
        points.astype("<f4").tofile(path)
    else:
        draco = pytest.importorskip("DracoPy")
        values = {"intensity": cloud["intensity"].astype(np.uint8)[:, None], "t": cloud["t"][:, None]}
        path.write_bytes(draco.encode(points[:, :3], quantization_bits=20, generic_attributes=values))
    return path


def test_stamps_poses_and_fields(tmp_path):
    one, two = open_clips(write_sample(tmp_path))
    assert (one.clip_id, two.clip_id, one.format) == ("one", "two", "folder")
    assert one.frame_ids == ("9", "10", "11")
    assert (one.timestamps_us - START_US).tolist() == [[0, 100_000], [100_000, 200_000], [200_000, 300_000]]
    assert one.world_SE3_lidar[:, :, 0, 3].tolist() == [[0, 0.5], [0.5, 1.0], [1.0, 1.5]]
    sweep, cloud = one.read_sweep(1), table(seed=10)
    assert np.array_equal(sweep.points, np.stack([cloud[axis] for axis in "xyz"], 1))
    assert np.array_equal(sweep.intensity, cloud["intensity"])
    assert np.array_equal(sweep.ring, cloud["ring"])
    assert np.array_equal(sweep.time_us, cloud["t"])
    assert any("s since 1970" in note for note in one.notes)
    assert two.world_SE3_lidar is None
    assert {"no poses", "no times: frame numbers at the sensor's rate"} <= set(two.notes)
    assert any("uniform64" in note for note in two.notes)


def turned(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The angle by which points are told apart in any order: steps of 0.7 degrees, from between two points on."""
    return (np.arctan2(y, x) - 3.14) % (2 * np.pi)


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_kind_holds_the_same_points(ending, tmp_path):
    write_cloud(tmp_path / "scans" / f"000007.{ending}", 7)
    for path in (tmp_path / "scans", tmp_path / "scans" / f"000007.{ending}", tmp_path):
        (clip,) = open_clips(path)
        assert clip.format == "folder"
        assert "by the kind of its files alone and read as folder: meters, x forward" in clip.notes[0]
    sweep = clip.read_sweep(0)
    cloud = table(seed=7)
    cloud = cloud[np.argsort(turned(cloud["x"], cloud["y"]))]
    order = np.argsort(turned(*sweep.points[:, :2].T))
    assert np.allclose(sweep.points[order], np.stack([cloud[axis] for axis in "xyz"], 1), atol=1e-4)
    assert np.array_equal(sweep.intensity[order], cloud["intensity"])
    assert check_clip(clip).problems == ()


def test_a_sensor_file_beside_or_above_the_clouds_is_the_sensor(tmp_path):
    path = write_sample(tmp_path)
    (path / "sensor.yaml").write_text(load_sensor("nuscenes_hdl32e").to_yaml())
    assert reader.recognise(path) == Strength.GENERIC  # other datasets have a file of that name above their clouds
    one, two = open_clips(path)
    assert {one.sensor.name, two.sensor.name} == {"nuscenes_hdl32e"}
    assert not any("uniform64" in note for note in one.notes)
    (path / "one" / "sensor.yaml").write_text("name: broken\n")
    assert reader.recognise(path) == reader.recognise(path / "one" / "9.pcd") == Strength.EXACT
    with pytest.raises(DataError, match=r"missing key .*sensor\.yaml"):
        open_clips(path)
    errors = []
    assert [clip.clip_id for clip in open_clips(path, on_error=errors.append)] == ["two"]


def test_bare_binary_files_stay_with_kitti(tmp_path):
    write_cloud(tmp_path / "scans" / "000000.bin", 0)
    assert reader.recognise(tmp_path / "scans") == Strength.NONE
    assert reader.recognise(tmp_path / "scans" / "000000.bin") == Strength.NONE
    assert open_clips(tmp_path / "scans")[0].format == "kitti"
    (tmp_path / "scans" / "sensor.yaml").write_text(load_sensor("uniform64").to_yaml())
    (clip,) = open_clips(tmp_path / "scans", columns=4)
    assert clip.format == "folder"
    assert np.array_equal(clip.read_sweep(0).points[:, 2], table(seed=0)["z"])


def test_names_that_are_stamps_are_the_times(tmp_path):
    for stamp in (START_US, START_US + 50_000):
        write_cloud(tmp_path / f"{stamp * 1000}.pcd", 0)
    (clip,) = open_clips(tmp_path)
    assert (clip.timestamps_us - START_US).tolist() == [[0, 50_000], [50_000, 100_000]]


def test_times_of_as_many_poses_are_those_of_the_sweeps(tmp_path):
    for index in range(2):
        write_cloud(tmp_path / f"{index}.pcd", index)
    (tmp_path / "poses.txt").write_text("".join(f"{1_700_000_000 + k / 5:.1f} {k} 0 0 0 0 0 1\n" for k in range(2)))
    (clip,) = open_clips(tmp_path)
    assert (clip.timestamps_us - START_US).tolist() == [[0, 100_000], [200_000, 300_000]]
    assert np.allclose(clip.world_SE3_lidar[:, :, 0, 3], [[0, 0.5], [1.0, 1.5]])


def test_time_that_goes_back_is_refused(tmp_path):
    path = write_sample(tmp_path) / "one"
    (path / "timestamps.txt").write_text("0.0\n0.2\n0.1\n")
    with pytest.raises(DataError, match=r"time goes from 200000 to 100000 us .*timestamps.txt, clip one, key row 3"):
        open_clips(path)


def test_the_most_frequent_kind_is_the_recording(tmp_path):
    path = write_sample(tmp_path) / "one"
    write_cloud(path / "map.ply", 0)
    (clip,) = open_clips(path)
    assert len(clip) == 3
    assert "1 files are not .pcd and left out" in clip.notes


def test_coordinates_of_a_map(test_data):
    pytest.importorskip("laspy")
    for file in sorted((test_data / "las").iterdir()):
        (clip,) = open_clips(file)
        points = clip.points(0)
        assert len(points) in (1065, 1000, 10683, 4)
        assert np.isfinite(points).all()
    (clip,) = open_clips(test_data / "las" / "simple.laz")
    assert "coordinates of a map, less 635619, 848899, 406" in clip.notes


def test_published_clouds_open(test_data):
    for name in ("ascii", "binary", "binary_compressed", "ascii_organized", "ascii_multi_count"):
        (clip,) = open_clips(test_data / "pcd" / f"{name}.pcd")
        assert len(clip.points(0)) == (213 if "o" not in name or "b" in name else 7)
    (clip,) = open_clips(test_data / "pcd" / "ascii_with_empty_points.pcd")
    with pytest.raises(DataError, match=r"no point in it .*ascii_with_empty_points.pcd, clip ascii_with_empty_points"):
        clip.read_sweep(0)


def test_no_cloud_is_refused(tmp_path):
    with pytest.raises(DataError, match="not recognized as folder"):
        open_clips(tmp_path, format="folder")
    with pytest.raises(DataError, match="no cloud in it"):
        reader.open_clips(tmp_path)
