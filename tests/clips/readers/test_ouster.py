"""Recordings of Ouster sensors: written by the tests in each profile, and the published one in both kinds of files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.clips.sweep import sweep_problems
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import load_sensor, project_points, range_map_to_points
from tests.clips.readers.ouster.recordings import (
    COLUMN_NS,
    COLUMNS,
    FRAMES,
    LAYOUTS,
    SHIFTS,
    START_NS,
    fields,
    png,
    write_osf,
    write_pcap,
    zpng,
)  # fmt: skip

REAL = "OS-1-128_v2.3.0_1024x10_lb_n3"


def write_sample(root: Path) -> Path:
    """A recording of packets with poses."""
    path = write_pcap(root / "drives" / "street.pcap")
    rows = "".join(f"1 0 0 {frame / 2} 0 1 0 0 0 0 1 0\n" for frame in range(FRAMES))
    (path.parent / "street_poses_kitti.txt").write_text(rows)
    return path.parent


def destaggered(image: np.ndarray) -> np.ndarray:
    return np.stack([np.roll(row, shift) for row, shift in zip(image, SHIFTS, strict=True)])


def assert_frames(clip, profile: str) -> None:
    assert clip.frame_ids == ("700", "701", "702")
    assert (clip.timestamps_us[:, 0] - START_NS // 1000).tolist() == [0, 100_000, 200_000]
    for index in range(FRAMES):
        sweep, wanted = clip.read_sweep(index), fields(profile, index)
        assert sweep_problems(sweep, clip.sensor) == []
        assert np.allclose(sweep.range_m, destaggered(wanted["RANGE"]) / 1000, atol=1e-5)
        assert np.array_equal(sweep.intensity, destaggered(wanted["REFLECTIVITY"]))
        measured = (np.arange(COLUMNS) - np.array(SHIFTS)[:, None]) % COLUMNS
        assert np.abs(sweep.time_us - measured * COLUMN_NS / 1000).max() <= 1
        assert (sweep.second_return is not None) == ("RANGE2" in wanted)
        if sweep.second_return is not None:
            assert np.allclose(sweep.second_return.range_m, destaggered(wanted["RANGE2"]) / 1000, atol=1e-5)
            assert np.array_equal(sweep.second_return.intensity, destaggered(wanted["REFLECTIVITY2"]))
    assert check_clip(clip).problems == ()


@pytest.mark.parametrize("profile", LAYOUTS)
@pytest.mark.parametrize("fragment", [0, 480])
def test_packets_of_every_profile_whole_and_in_fragments(profile, fragment, tmp_path):
    (clip,) = open_clips(write_pcap(tmp_path / "a.pcap", profile, fragment))
    assert (clip.clip_id, clip.format, list(clip.lidars)) == ("a", "ouster", ["OS-1-8_1234"])
    assert_frames(clip, profile)


@pytest.mark.parametrize("pack", [zpng, png])
@pytest.mark.parametrize("profile", ["RNG15_RFL8_NIR8", "RNG19_RFL8_SIG16_NIR16_DUAL"])
def test_osf_files_of_both_kinds_of_images(pack, profile, tmp_path):
    pytest.importorskip("flatbuffers")
    (clip,) = open_clips(write_osf(tmp_path / "a.osf", pack, profile))
    assert_frames(clip, profile)


def test_metadata_in_sections(tmp_path):
    (clip,) = open_clips(write_pcap(tmp_path / "a.pcap", nested=True))
    assert_frames(clip, "RNG15_RFL8_NIR8")


def test_poses_are_those_of_the_lidar(tmp_path):
    (clip,) = open_clips(write_sample(tmp_path))
    assert np.allclose(clip.world_SE3_lidar[1, 0, :3, 3], [0.5, 0, 0.03618])
    assert "poses of street_poses_kitti.txt" in clip.notes


def test_both_kinds_of_files_of_one_recording_are_one_clip(tmp_path):
    pytest.importorskip("flatbuffers")
    write_osf(write_pcap(tmp_path / "a.pcap").with_suffix(".osf"))
    (clip,) = open_clips(tmp_path)
    assert clip.source.suffix == ".osf"


def test_the_published_recording_is_the_same_in_both(test_data):
    folder = test_data / "ouster"
    (one,), (other,) = (open_clips(folder / f"{REAL}.{ending}") for ending in ("pcap", "osf"))
    assert one.frame_ids == other.frame_ids == ("1795", "1796", "1797")
    assert np.array_equal(one.timestamps_us, other.timestamps_us)
    assert np.array_equal(one.world_SE3_lidar, other.world_SE3_lidar)
    for index in range(3):
        first, second = one.read_sweep(index), other.read_sweep(index)
        for name in ("range_m", "points", "intensity", "time_us"):
            assert np.array_equal(getattr(first, name), getattr(second, name)), name
        assert abs((first.range_m > 0).mean() - 0.82) < 0.005
    assert check_clip(one).problems == ()


def test_the_sensor_describes_the_pixels_of_the_published_recording(test_data):
    (clip,) = open_clips(test_data / "ouster" / f"{REAL}.osf")
    sweep, sensor = clip.read_sweep(1), clip.sensor
    assert sensor.shape == (128, 1024)
    assert np.degrees(np.abs(sensor.row_azimuth_offsets_rad).max()) < 0.03  # columns look in one direction
    by_model = np.asarray(range_map_to_points(sweep.range_m, sensor))
    assert np.linalg.norm(by_model - sweep.points, axis=1).max() < 0.016  # beams start 15.8 mm from the axis
    projected = project_points(sweep.points, sensor)
    both = (np.asarray(projected.range_m) > 0) & (sweep.range_m > 0)
    assert both.sum() > 0.999 * (sweep.range_m > 0).sum()
    assert np.median(np.abs(np.asarray(projected.range_m) - sweep.range_m)[both]) < 0.002


def test_walls_of_the_published_recording_are_flat(test_data):
    """Neighbors in a column lie on vertical walls: their distance from the best plane is that of the range's noise."""
    (clip,) = open_clips(test_data / "ouster" / f"{REAL}.osf")
    sweep = clip.read_sweep(0)
    cloud = np.full((*sweep.range_m.shape, 3), np.nan, np.float32)
    cloud[sweep.range_m > 0] = sweep.points
    residuals = []
    for row in range(20, 100, 8):
        for column in range(0, 1024, 16):
            patch = cloud[row : row + 8, column : column + 8].reshape(-1, 3).astype(np.float64)
            patch = patch[np.isfinite(patch).all(1)]
            if len(patch) == 64:
                centered = patch - patch.mean(0)
                _, sizes, axes = np.linalg.svd(centered, full_matrices=False)
                if abs(axes[2, 2]) < 0.1 and sizes[1] > 1.0:  # an upright patch, not a pole
                    residuals.append(sizes[2] / 8)
    assert len(residuals) > 30
    assert np.median(residuals) < 0.03


def test_another_sensor_is_refused_unless_it_has_the_same_pixels(tmp_path):
    path = write_pcap(tmp_path / "a.pcap")
    with pytest.raises(DataError, match=r"64 x 1024 pixels .*key sensor.*8 x 64"):
        open_clips(path, sensor=load_sensor("uniform64"))


def test_packets_without_metadata_are_not_recognized(tmp_path):
    path = write_pcap(tmp_path / "a.pcap")
    path.with_suffix(".json").unlink()
    with pytest.raises(DataError, match="not recognized"):
        open_clips(path)
    for name in ("b.json", "c.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(DataError, match="not recognized"):
        open_clips(path)
