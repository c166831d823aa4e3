"""NCore V4 sequences: what NCore's own writer has written, against the drive and against NCore's own reader."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.clips.sweep import sweep_problems
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import load_sensor, range_map_to_points
from tests.clips.readers.ncore.recording import CAMERA, FRAMES, LIDAR, PINHOLE, START_US, bundle, v4, write
from tests.clips.readers.synthetic import EGO_SE3_CAMERA, EGO_SE3_LIDAR, ego_pose, recorded, sensor


def write_sample(root: Path) -> Path:
    """A sequence of two sweeps and two cameras."""
    write(root / "drive-7")
    return root


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> list[Path]:
    return write(tmp_path_factory.mktemp("sequence"))


def test_sweeps_are_those_of_the_drive(stores):
    (clip,) = open_clips(stores[0].parent)
    assert (clip.clip_id, clip.format, clip.notes) == ("drive-7", "ncore", ())
    for index in range(FRAMES):
        sent, got = recorded(index), clip.read_sweep(index)
        assert np.allclose(got.range_m, sent.range_m, atol=1e-4)
        seen = got.range_m > 0
        assert np.array_equal(got.time_us[seen], sent.time_us[seen])
        assert np.allclose(got.intensity[seen], sent.intensity[seen])
        assert np.allclose(got.points, range_map_to_points(sent.range_m, sensor()), atol=1e-4)
        assert clip.timestamps_us[index].tolist() == [START_US + index * 100_000, START_US + (index + 1) * 100_000]
        assert np.allclose(clip.world_SE3_lidar[index, 1], ego_pose(0.1 * (index + 1)) @ EGO_SE3_LIDAR, atol=1e-3)
    assert np.allclose(clip.lidar.ego_SE3_lidar, EGO_SE3_LIDAR)
    assert clip.sensor.first_azimuth_rad == pytest.approx(sensor().first_azimuth_rad, abs=1e-6)
    assert not clip.motion_compensated
    assert not check_clip(clip).problems


def test_ncores_own_reader_gives_the_same(stores):
    opened = v4.SequenceComponentGroupsReader(stores, max_threads=1)
    loader = v4.SequenceLoaderV4(opened, masks_component_group_name=None, cuboids_component_group_name=None)
    (clip,) = open_clips(stores[0].parent)
    lidar = loader.get_lidar_sensor(LIDAR)
    theirs = lidar.get_frame_point_cloud(1, motion_compensation=False, with_start_points=False).xyz_m_end
    assert np.array_equal(clip.points(1), theirs)
    assert np.array_equal(lidar.frames_timestamps_us.astype(np.int64), clip.timestamps_us)
    world = loader.pose_graph.evaluate_poses(LIDAR, "world", np.array(clip.timestamps_us[1], np.uint64))
    assert np.allclose(world, clip.world_SE3_lidar[1], atol=1e-5)
    camera = loader.get_camera_sensor(CAMERA)
    assert np.array_equal(
        np.array(camera.get_frame_handle(1).get_data().get_decoded_image()), clip.cameras[CAMERA].read(1)
    )


def test_cameras_have_lenses_mountings_and_poses(stores):
    (clip,) = open_clips(stores[0])
    front, rear = clip.cameras[CAMERA], clip.cameras[PINHOLE]
    assert front.timestamps_us.tolist() == [START_US + 50_000, START_US + 150_000 - 30]
    assert np.allclose(front.ego_SE3_camera, EGO_SE3_CAMERA)
    assert np.allclose(front.lidar_SE3_camera, np.linalg.inv(EGO_SE3_LIDAR) @ EGO_SE3_CAMERA)
    assert np.allclose(front.world_SE3_camera[0], ego_pose(0.05) @ EGO_SE3_CAMERA, atol=1e-3)
    assert np.allclose(rear.lidar_SE3_camera, np.eye(4))
    assert front.model.project(np.array([[np.tan(0.5), 0.0, 1.0]]))[0][0] == pytest.approx([31.5 + 20 - 0.125, 23.0])
    assert rear.model.project(np.array([[0.2, 0.1, 1.0]]))[0][0] == pytest.approx([31.5 + 10, 23.5 + 4])
    assert (front.read(1) == 45).all()
    assert (rear.read(0) == 15).all()


def test_folders_of_arrays_and_of_sequences(tmp_path, stores):
    write(tmp_path / "one" / "folder", "directory")
    (clip,) = open_clips(tmp_path / "one" / "folder")
    (packed,) = open_clips(stores[0].parent)
    assert np.array_equal(clip.points(1), packed.points(1))
    (clip,) = open_clips(tmp_path / "one")
    assert len(clip.cameras) == 2


def test_second_returns_are_range_images_too(tmp_path):
    write(tmp_path, second=True)
    (clip,) = open_clips(tmp_path)
    sweep = clip.read_sweep(0)
    assert sweep_problems(sweep, clip.sensor) == []
    both = sweep.second_return.range_m > 0
    assert np.allclose(sweep.second_return.range_m[both] - sweep.range_m[both], 5, atol=1e-4)
    assert int(both.sum()) == int(np.isfinite(bundle(0, second=True)["distance_m"][1]).sum())
    assert len(clip.points(0)) == int((sweep.range_m > 0).sum()) + int(both.sum())
    (given,) = open_clips(tmp_path, sensor=load_sensor("uniform64"))
    assert sorted(set(given.read_sweep(0).returns.tolist())) == [1, 2]


def test_without_a_model_points_remain(tmp_path):
    write(tmp_path, model=False)
    (clip,) = open_clips(tmp_path)
    sweep = clip.read_sweep(0)
    assert (clip.sensor.name, sweep.range_m) == ("uniform64", None)
    assert np.array_equal(sweep.ring, bundle(0)["model_element"][:, 0])
    assert clip.notes == (f"{LIDAR}: no model in it, range maps are those of uniform64",)


def test_without_the_store_of_poses(tmp_path, stores):
    for store in stores:
        if "ncore4." not in store.name:
            shutil.copy(store, tmp_path)
    (clip,) = open_clips(tmp_path)
    assert clip.world_SE3_lidar is None
    assert any("no poses from it to world" in note for note in clip.notes)
    assert clip.cameras[CAMERA].model is None


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda rays: rays["model_element"].fill(16), r"element \(16, 16\).*model_element.*model of \(16, 240\)"),
        (lambda rays: rays["distance_m"].fill(0), "no return among"),
        (lambda rays: rays["distance_m"].fill(np.nan) or rays["intensity"].fill(np.nan), "no return among"),
    ],
)
def test_frames_that_are_no_sweep_are_named(tmp_path, change, found):
    write(tmp_path, change=change)
    (clip,) = open_clips(tmp_path)
    with pytest.raises(DataError, match=found) as caught:
        clip.read_sweep(0)
    assert (caught.value.clip, caught.value.file.name) == ("drive-7", f"drive.ncore4-{LIDAR}.zarr.itar")


def test_several_rays_of_a_pixel_stay_points(tmp_path):
    write(tmp_path, change=lambda rays: rays["model_element"].fill(3))
    (clip,) = open_clips(tmp_path)
    sweep = clip.read_sweep(0)
    assert (sweep.range_m, set(sweep.ring.tolist())) == (None, {3})
    assert len(sweep.points) == len(bundle(0)["direction"])


def test_cut_stores_are_refused(tmp_path, stores):
    for store in stores:
        whole, copy = store.read_bytes(), tmp_path / store.name
        for size in (0, 100, len(whole) // 2, len(whole) - 1):
            copy.write_bytes(whole[:size])
            with pytest.raises(DataError, match=r"complete \.zarr\.itar file") as caught:
                open_clips(copy)
            assert caught.value.file == copy
        copy.unlink()
