"""Range maps come back to the bit; depth maps have the points that the image shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("OpenEXR")

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.camera_pose import project_sweep
from cosmos_lidar.clips.convert import convert_clips
from cosmos_lidar.clips.exr import read_exr
from cosmos_lidar.clips.rig import load_rig
from cosmos_lidar.clips.sweep import RETURN_VALUES
from tests.clips.writers.same import assert_same_track


def through(clip, folder):
    result = convert_clips([clip], folder, "exr")
    assert result.errors == {}
    return open_clips(folder)[0], result.written[clip.clip_id].lost


def test_range_images_come_back_to_the_bit(two_lidars, tmp_path) -> None:
    back, lost = through(two_lidars, tmp_path)
    assert back.format == "exr"
    assert_same_track(two_lidars, back)
    assert list(back.lidars) == list(two_lidars.lidars)
    for name, lidar in two_lidars.lidars.items():
        assert np.array_equal(back.lidars[name].timestamps_us, lidar.timestamps_us)
        for index in range(len(lidar)):
            given, read = lidar.read(index), back.lidars[name].read(index)
            assert np.array_equal(read.range_m.view(np.uint32), given.range_m.view(np.uint32))
            for value in RETURN_VALUES:
                if value != "ring" and getattr(given, value) is not None:
                    assert np.array_equal(getattr(read, value), getattr(given, value)), value
    assert set(lost) == {"images", "boxes", "lane_lines"}


def test_second_returns_elongation_and_rings_come_back(drive, tmp_path) -> None:
    def read(index: int):
        sweep = drive.lidar.read(index)
        rows = np.arange(len(sweep.range_m), dtype=np.uint16)[::-1, None]
        far = replace(sweep, range_m=np.where(sweep.range_m > 0, sweep.range_m + np.float32(0.3), 0), labels=None)
        ring = np.broadcast_to(rows, sweep.range_m.shape).copy()
        return replace(sweep, second_return=far, ring=ring, elongation=sweep.intensity * 2)

    back, lost = through(drive.with_lidar(read=read), tmp_path)
    given, found = read(1), back.lidar.read(1)
    assert np.array_equal(found.second_return.range_m, given.second_return.range_m)
    assert np.array_equal(found.elongation, given.elongation)
    assert np.array_equal(found.ring, given.ring)
    assert found.second_return.labels is None
    assert {"returns", "elongation", "ring"}.isdisjoint(lost)


def test_points_become_range_maps_as_the_lidar_saw_them(drive, compensated, tmp_path) -> None:
    back, lost = through(compensated, tmp_path)
    assert back.motion_compensated is False
    for index in range(3):
        assert np.array_equal(back.range_map(index), compensated.range_map(index))
        assert (np.abs(back.range_map(index) - drive.range_map(index)) < 1e-3).mean() > 0.99
    assert {"points", "returns", "reference"} <= set(lost)


def test_depth_is_that_of_the_points_in_the_image(drive, tmp_path) -> None:
    through(drive, tmp_path)
    middle = drive.timestamps_us.sum(1) // 2
    for name, camera in drive.cameras.items():
        for image in range(len(camera)):
            depth = read_exr(tmp_path / "drive_1" / "depth" / name / f"{image:06d}.exr")["Z"]
            assert depth.shape == (54, 96)
            index = int(np.argmin(np.abs(middle - camera.timestamps_us[image])))
            cloud = drive.lidar.cloud(index)
            seen = project_sweep(drive, camera, index, image, cloud.points, cloud.time_us)
            pixels: dict[tuple[int, int], float] = {}
            for uv, far in zip(seen.uv[seen.visible], seen.depth[seen.visible], strict=True):
                place = int(np.floor(uv[1] + 0.5)), int(np.floor(uv[0] + 0.5))
                pixels[place] = min(far, pixels.get(place, np.inf))
            assert len(pixels) > 30
            assert np.count_nonzero(depth) == len(pixels)
            assert all(depth[place] == np.float32(far) for place, far in pixels.items())


def test_times_poses_and_lenses_lie_beside_the_depth(drive, tmp_path) -> None:
    through(drive, tmp_path)
    rig = {camera.name: camera for camera in load_rig(tmp_path / "drive_1" / "cameras.yaml")}
    for name, camera in drive.cameras.items():
        place = tmp_path / "drive_1" / "depth" / name
        stamps = (place / "timestamps.csv").read_text().split()
        assert stamps == ["timestamp_us", *map(str, camera.timestamps_us.tolist())]
        rows = np.loadtxt(place / "poses.csv", delimiter=",", skiprows=1)
        assert np.allclose(rows[:, 1:4], camera.world_SE3_camera[:, :3, 3], rtol=0, atol=1e-9)
        assert rig[name].model == camera.model
        assert np.allclose(rig[name].lidar_SE3_camera, camera.lidar_SE3_camera)


def test_cameras_without_lens_or_place_are_named(drive, tmp_path) -> None:
    front, left = drive.cameras.values()
    nowhere = replace(left, world_SE3_camera=None, lidar_SE3_camera=None, ego_SE3_camera=None)
    cameras = {"front": front, "blind": replace(front, name="blind", model=None), "nowhere": nowhere}
    _, lost = through(replace(drive, cameras=cameras), tmp_path)
    assert sorted(path.name for path in (tmp_path / "drive_1" / "depth").iterdir()) == ["camera_front"]
    assert lost["camera_times"].startswith("no depth for blind and others")
    _, lost = through(replace(drive, cameras={}), tmp_path / "none")
    assert "images" not in lost
    result = convert_clips([replace(drive, lidars={})], tmp_path / "cameras", "exr")
    assert "no lidar in it" in result.errors["drive_1"]


def test_times_beyond_what_float32_holds_are_noted(drive, tmp_path) -> None:
    def read(index: int):
        sweep = drive.lidar.read(index)
        return replace(sweep, time_us=sweep.time_us + np.int32(1 << 25))

    _, lost = through(replace(drive.with_lidar(read=read), cameras={}), tmp_path)
    assert lost["time_us"] == "rounded beyond 16 s"


def test_real_native_range_images_with_two_returns(test_data, tmp_path) -> None:
    given = open_clips(test_data / "ouster")[0]
    back, _ = through(given, tmp_path)
    assert back.sensor.fingerprint() == given.sensor.fingerprint()
    for index in range(len(given)):
        one, two = given.lidar.read(index), back.lidar.read(index)
        assert np.array_equal(one.range_m.view(np.uint32), two.range_m.view(np.uint32))
        assert np.array_equal(one.intensity, two.intensity)
        assert np.array_equal(one.time_us, two.time_us)


def test_real_depth_of_surround_cameras(test_data, tmp_path) -> None:
    (given,) = open_clips(test_data / "nuscenes")
    through(given, tmp_path)
    for name, camera in given.cameras.items():
        depth = read_exr(tmp_path / given.clip_id / "depth" / name / "000000.exr")["Z"]
        assert depth.shape == (camera.model.height, camera.model.width)
        assert 1000 < np.count_nonzero(depth) < 10_000
        assert 1.0 < np.median(depth[depth > 0]) < 40
