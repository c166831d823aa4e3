"""What every reader owes to those who use clips, on the sample that its own tests write (``write_sample``)."""

from __future__ import annotations

import importlib
import pickle

import numpy as np
import pytest

from cosmos_lidar.clips import Clip, find_readers, open_clips
from cosmos_lidar.clips.checks._listing import find_checks
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.clips.sweep import sweep_problems
from cosmos_lidar.sensors.rigid import rigid

READERS = sorted(find_readers())
COMPARING = ("alignment", "motion", "repeats")  # samples may repeat one cloud, whatever the poses are


@pytest.fixture(scope="module", params=READERS)
def opened(request, tmp_path_factory) -> tuple[str, list[Clip]]:
    """The name of a reader and the clips of its sample."""
    tests = importlib.import_module(f"tests.clips.readers.test_{request.param}")
    assert hasattr(tests, "write_sample"), f"{tests.__name__} lacks write_sample(root), which writes a small recording"
    path = tests.write_sample(tmp_path_factory.mktemp(request.param))
    return request.param, open_clips(path)


def test_the_reader_is_recognized_by_itself(opened):
    name, clips = opened
    assert clips
    assert {clip.format for clip in clips} == {name}
    assert len({clip.clip_id for clip in clips}) == len(clips)
    assert not any(set("./ ") & set(clip.clip_id) for clip in clips)


def test_sweeps_have_the_shapes_and_dtypes_of_the_contract(opened):
    for clip in opened[1]:
        for lidar in clip.lidars.values():
            assert len(lidar) > 0
            sweep = lidar.read(len(lidar) - 1)
            assert sweep_problems(sweep, lidar.sensor) == []
            assert lidar.range_map(0).shape == lidar.sensor.shape
            assert lidar.range_map(0).dtype == np.float32
            cloud = lidar.cloud(0)
            assert cloud.points.shape[1:] == (3,)
            assert sweep_problems(cloud) == []


def test_times_increase_and_poses_are_rigid(opened):
    for clip in opened[1]:
        for lidar in clip.lidars.values():
            assert lidar.timestamps_us.shape == (len(lidar), 2)
            assert lidar.timestamps_us.dtype == np.int64
            assert (lidar.timestamps_us[:, 1] > lidar.timestamps_us[:, 0]).all()
            assert (np.diff(lidar.timestamps_us[:, 0]) > 0).all()
            assert all(isinstance(frame, str) for frame in lidar.frame_ids)
            assert lidar.world_SE3_lidar is None or lidar.world_SE3_lidar.shape == (len(lidar), 2, 4, 4)
            assert all(rigid(pose).all() for pose in (lidar.world_SE3_lidar, lidar.ego_SE3_lidar) if pose is not None)


def test_cameras_have_images_times_and_rigid_poses(opened):
    for clip in opened[1]:
        for camera in clip.cameras.values():
            assert camera.timestamps_us.dtype == np.int64
            assert (np.diff(camera.timestamps_us) > 0).all()
            image = camera.read(len(camera) - 1)
            assert (image.dtype, image.shape[2:]) == (np.uint8, (3,))
            assert camera.model is None or (camera.model.height, camera.model.width) == image.shape[:2]
            places = (camera.world_SE3_camera, camera.lidar_SE3_camera, camera.ego_SE3_camera)
            assert all(rigid(pose).all() for pose in places if pose is not None)
            if camera.ego_SE3_camera is not None and camera.lidar_SE3_camera is not None:
                by_ego = np.linalg.inv(clip.lidar.ego_SE3_lidar) @ camera.ego_SE3_camera
                assert np.allclose(camera.lidar_SE3_camera, by_ego)


def test_clips_travel_to_other_processes(opened):
    for clip in opened[1]:
        copy = pickle.loads(pickle.dumps(clip))
        for name, lidar in clip.lidars.items():
            given, travelled = lidar.read(0), copy.lidars[name].read(0)
            assert given.held == travelled.held
            assert np.array_equal(lidar.points(0), copy.lidars[name].points(0))
        for name, camera in clip.cameras.items():
            assert np.array_equal(camera.read(0), copy.cameras[name].read(0))


def test_inspect_finds_nothing_wrong(opened):
    alone = [name for name in find_checks() if name not in COMPARING]
    for clip in opened[1]:
        assert check_clip(clip, checks=alone).problems == ()
