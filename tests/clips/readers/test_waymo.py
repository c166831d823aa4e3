"""Waymo Open v1: clips of records that an encoder of the tests has written, and the cameras of a real record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.camera_pose import project_sweep
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.clips.label_maps import load_label_map
from cosmos_lidar.clips.protobuf import Message
from cosmos_lidar.clips.readers.waymo import recognise
from cosmos_lidar.clips.readers.waymo.geometry import CAMERAS, CLASS_NAMES, LIDARS
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.clips.tfrecord import index_records
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import points_to_range_map, range_map_to_points, uniform_sensor
from cosmos_lidar.sensors.rigid import rigid
from cosmos_lidar.synth.camera import render
from cosmos_lidar.synth.drive import Drive
from tests.clips.readers.waymo_records import (
    FIRST_US,
    SEGMENT,
    encode_frame,
    record,
    record_drive,
    without_lasers,
    write_tfrecord,
)

REAL = "pvps_data_one_frame.tfrecord"


def write_sample(root: Path) -> Path:
    write_tfrecord(root / "training" / f"segment-{SEGMENT}_with_camera_labels.tfrecord", record_drive())
    return root


@pytest.fixture
def clip(tmp_path):
    (one,) = open_clips(write_sample(tmp_path))
    return one


def to_world(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    return points @ pose[:3, :3].T + pose[:3, 3]


def first_world_points(recording, number, frame) -> np.ndarray:
    world = recording.frames[frame].lasers[number].world_points
    return world[np.isfinite(world[..., 0])]


def test_streams_names_and_times(clip):
    assert (clip.clip_id, clip.format, clip.notes) == (SEGMENT, "waymo", ())
    assert list(clip.lidars) == list(LIDARS.values())
    assert list(clip.cameras) == list(CAMERAS.values())
    assert clip.timestamps_us.tolist() == [[FIRST_US + k * 100_000, FIRST_US + (k + 1) * 100_000] for k in range(3)]
    assert clip.frame_ids == tuple(str(FIRST_US + k * 100_000) for k in range(3))
    rear = clip.lidars["REAR"].timestamps_us
    assert rear.tolist() == [[FIRST_US + 50_000 + k * 100_000, FIRST_US + 50_001 + k * 100_000] for k in range(3)]


@pytest.mark.parametrize("number", LIDARS)
def test_range_images_come_back_as_the_lidar_measured_them(clip, number):
    recording, lidar = record_drive(), clip.lidars[LIDARS[number]]
    for index, frame in enumerate(recording.frames):
        sweep, laser = lidar.read(index), frame.lasers[number]
        for found, image, labels in zip((sweep, sweep.second_return), laser.images, laser.labels, strict=True):
            seen = image[..., 0] > 0
            assert 0 < seen.mean() < 1
            assert np.array_equal(found.range_m, np.where(seen, image[..., 0], 0))
            assert np.array_equal(found.intensity, np.where(seen, image[..., 1], 0))
            assert np.array_equal(found.elongation, np.where(seen, image[..., 2], 0))
            assert (found.labels is None) == (labels is None)
            if labels is not None:
                assert np.array_equal(found.instance, labels[..., 0])
                assert np.array_equal(found.labels, labels[..., 1])
                assert len(np.unique(found.labels)) > 3
            projection = laser.projections[0 if found is sweep else 1]
            assert np.array_equal(lidar.read.camera_projections(index, found is not sweep), projection)
        assert lidar.read.read_first(index).second_return is None
        assert np.array_equal(lidar.read.read_first(index).range_m, sweep.range_m)
    assert (clip.lidar.read(0).labels is not None, clip.lidar.read(1).labels is not None) == (True, False)


@pytest.mark.parametrize("number", LIDARS)
def test_points_lie_where_they_are_in_the_world(clip, number):
    recording, lidar = record_drive(), clip.lidars[LIDARS[number]]
    for index in range(len(lidar)):
        expected, cloud = first_world_points(recording, number, index), lidar.cloud(index)
        found = to_world(cloud.points[cloud.returns == 1].astype(float), lidar.world_SE3_lidar[index, 0])
        assert np.abs(found - expected).max() < 1e-4  # meters
        assert np.array_equal(lidar.points(index), cloud.points)
    assert np.linalg.norm(clip.lidar.world_SE3_lidar[2, 1, :3, 3] - clip.lidar.world_SE3_lidar[0, 0, :3, 3]) > 1.5


def test_points_that_nothing_moves_would_be_wrong(clip):
    """The car drives: rays of the range image, all from the start of the sweep, miss by decimeters."""
    naive = range_map_to_points(clip.range_map(1), clip.sensor)
    missed = np.linalg.norm(
        to_world(naive, clip.world_SE3_lidar[1, 0]) - first_world_points(record_drive(), 1, 1), axis=1
    )
    assert np.median(missed) > 0.2


def test_poses_at_start_and_end_of_a_sweep_are_those_of_its_first_and_last_pixels(clip):
    recording = record_drive()
    ends = clip.world_SE3_lidar
    assert np.abs(ends[1:, 0] - ends[:-1, 1]).max() < 1e-4  # one sweep ends where the next one starts
    middle = (ends[:, 0, :3, 3] + ends[:, 1, :3, 3]) / 2
    laser = np.stack([frame.world_SE3_ego for frame in recording.frames]) @ recording.lasers[1].ego_SE3_laser
    assert np.abs(middle - laser[:, :3, 3]).max() < 0.01
    front = clip.lidars["FRONT"]
    assert np.array_equal(front.world_SE3_lidar[:, 0], front.world_SE3_lidar[:, 1])


def test_axes_are_turned_forward_and_the_mounting_with_them(clip):
    recording = record_drive()
    for number, name in LIDARS.items():
        lidar, calibration = clip.lidars[name], recording.lasers[number]
        assert lidar.ego_SE3_lidar[0, 0] > 0.999  # x forward
        assert np.array_equal(lidar.ego_SE3_lidar[:3, 3], calibration.ego_SE3_laser[:3, 3])
        assert rigid(lidar.ego_SE3_lidar, 1e-9)
        assert np.allclose(lidar.ego_SE3_lidar[:, 2], calibration.ego_SE3_laser[:, 2])
        assert lidar.sensor.first_azimuth_rad == np.pi
        assert (np.diff(lidar.sensor.row_elevations_rad) < 0).all()


def test_the_range_map_of_moved_points_is_the_recorded_one(clip):
    """Points without their range image, as other datasets have them, are moved back to where the lidar saw them."""
    sweep = clip.read_sweep(0)
    points = replace(sweep, range_m=None, second_return=None, intensity=None, labels=None, instance=None,
                     elongation=None)  # fmt: skip
    found, recorded = clip.project(points, 0).range_m, clip.range_map(0)
    near = recorded < clip.sensor.max_range_m
    assert (np.abs(found - recorded) < 0.01)[near].mean() > 0.995
    naive = points_to_range_map(sweep.points, clip.sensor)
    assert (np.abs(naive - recorded) < 0.01)[near].mean() < 0.5


def test_cameras_see_what_they_saw(clip):
    recording = record_drive()
    for number, name in CAMERAS.items():
        camera, calibration = clip.cameras[name], recording.cameras[number]
        images = [frame.images[number] for frame in recording.frames]
        assert camera.timestamps_us.tolist() == [round(one.time_s * 1e6) for one in images]
        forward = camera.ego_SE3_camera[:3, 2]
        assert np.allclose(forward, calibration.ego_SE3_camera[:3, 0])
        assert np.allclose(camera.ego_SE3_camera[:3, 0], -calibration.ego_SE3_camera[:3, 1])  # right is not left
        assert np.allclose(camera.ego_SE3_camera[:3, 1], -calibration.ego_SE3_camera[:3, 2])  # down is not up
        for index, one in enumerate(images):
            assert np.allclose(camera.world_SE3_camera[index], one.world_SE3_ego @ camera.ego_SE3_camera)
        assert camera.model.distortion == tuple(calibration.intrinsics[4:])
        assert camera.model.cx == calibration.intrinsics[2] - 0.5
        image = camera.read(1)
        assert image.shape == (calibration.size[1], calibration.size[0], 3)


def test_points_of_the_lidar_are_as_deep_in_the_images_as_what_is_drawn_there(clip):
    """Rays of TOP, motion, mountings, poses and lenses together, against the depth that the cameras were drawn with."""
    drive = Drive(5, clip.sensor, 3, None)
    for camera in clip.cameras.values():
        time_s = (camera.timestamps_us[1] - FIRST_US) / 1e6
        drawn = render(drive.scene, camera.model, camera.world_SE3_camera[1], time_s).depth_m
        cloud = clip.lidar.cloud(1)
        found = project_sweep(clip, camera, 1, 1, cloud.points[cloud.returns == 1])
        column, row = np.floor(found.uv[found.visible] + 0.5).astype(int).T
        wrong = np.abs(drawn[row, column] / found.depth[found.visible] - 1)
        assert len(wrong) > 300
        assert np.median(wrong) < 0.01
        assert (wrong < 0.05).mean() > 0.9  # the others lie at edges: pixels are coarse


def test_frames_without_lidar_are_normal(tmp_path):
    recording = record_drive()
    frames = [recording.frames[0], without_lasers(recording.frames[1]), recording.frames[2]]
    (clip,) = open_clips(write_tfrecord(tmp_path / "segment-a.tfrecord", recording, frames))
    assert (len(clip), len(clip.cameras["FRONT"])) == (2, 3)
    assert clip.timestamps_us.tolist() == [[FIRST_US, FIRST_US + 100_000], [FIRST_US + 200_000, FIRST_US + 300_000]]
    assert clip.notes[0] == "TOP: 1 of 3 frames have no sweep"
    path = write_tfrecord(tmp_path / "segment-b.tfrecord", recording, list(map(without_lasers, recording.frames)))
    (clip,) = open_clips(path)
    assert (clip.lidars, clip.notes, len(clip.cameras)) == ({}, ("no lidar in it",), 5)
    assert clip.cameras["FRONT"].lidar_SE3_camera is None


def test_records_are_put_in_order_and_segments_apart(tmp_path):
    recording = record_drive()
    first, second, third = recording.frames
    frames = [third, replace(second, segment="9_0"), first]
    one, other = open_clips(write_tfrecord(tmp_path / "segment-a.tfrecord", recording, frames))
    assert (one.clip_id, other.clip_id) == (SEGMENT, "9_0")
    assert one.frame_ids == (str(FIRST_US), str(FIRST_US + 200_000))
    assert np.array_equal(one.range_map(1) > 0, third.lasers[1].images[0][..., 0] > 0)
    assert other.notes == ("one frame: the end of its sweep is taken to be 100 ms after its start",)


def test_another_sensor_sees_points(tmp_path):
    path = write_sample(tmp_path)
    sensor = uniform_sensor(16, 90, 4.0, -20.0)
    (clip,) = open_clips(path, sensor=sensor)
    assert clip.sensor is sensor
    sweep = clip.read_sweep(0)
    assert (sweep.range_m, sweep.returns.max(), len(np.unique(sweep.ring))) == (None, 2, 16)
    assert clip.range_map(0).shape == (16, 90)
    assert (clip.range_map(0) > 0).mean() > 0.8
    assert clip.lidars["FRONT"].read(0).range_m is not None


def test_recognised_by_names(tmp_path):
    path = write_sample(tmp_path)
    assert [recognise(one) for one in (path, path / "training", next(path.glob("*/*")))] == [Strength.EXACT] * 3
    other = write_tfrecord(tmp_path / "b" / "c.tfrecord", record_drive())
    assert recognise(other) == recognise(other.parent) == Strength.GENERIC
    assert "Frame messages" in open_clips(other)[0].notes[0]
    assert recognise(tmp_path / "nothing") == Strength.NONE


def test_a_broken_file_among_good_ones(tmp_path):
    path = write_sample(tmp_path)
    good = next(path.glob("*/*.tfrecord"))
    (good.parent / "segment-0.tfrecord").write_bytes(good.read_bytes()[:-1])
    with pytest.raises(DataError, match="cut off"):
        open_clips(path)
    errors: list[DataError] = []
    (clip,) = open_clips(path, on_error=errors.append)
    assert (clip.clip_id, [error.file.name for error in errors]) == (SEGMENT, ["segment-0.tfrecord"])


def test_the_same_frame_twice(tmp_path):
    recording = record_drive()
    path = write_tfrecord(tmp_path / "segment-a.tfrecord", recording, [recording.frames[0]] * 2)
    with pytest.raises(DataError, match="two frames at"):
        open_clips(path)


def test_opening_reads_little(tmp_path, monkeypatch):
    """Images and range images are skipped; of pixel poses the first row is unpacked."""
    recording = record_drive()
    frames = [encode_frame(recording, frame) for frame in recording.frames]
    path = tmp_path / "segment-a.tfrecord"
    padded = [content + b"\xfa\x7f" + b"\x80\x80\x80\x02" + bytes(1 << 22) for content in frames]  # an unknown field
    path.write_bytes(b"".join(record(content) for content in padded))
    sizes: list[int] = []
    from cosmos_lidar.clips import protobuf

    pread = protobuf.os.pread
    monkeypatch.setattr(protobuf.os, "pread", lambda *args: sizes.append(args[1]) or pread(*args))
    (clip,) = open_clips(path)
    assert len(clip) == 3
    assert 0 < sum(sizes) < 1 << 20 < path.stat().st_size / 10


# --- the real record: cameras alone


@pytest.fixture
def real(test_data):
    path = test_data / "waymo" / "v1" / REAL
    (clip,) = open_clips(path)
    (place,) = index_records(path)
    return clip, Message.of(path.read_bytes()[place.start : place.end], "Frame")


def test_a_real_record_without_lidar(real):
    clip, _ = real
    assert clip.clip_id == "1024360143612057520_3580_000_3600_000"
    assert clip.lidars == {}
    assert {name: camera.read(0).shape for name, camera in clip.cameras.items()} == {
        "FRONT": (1280, 1920, 3), "FRONT_LEFT": (1280, 1920, 3), "FRONT_RIGHT": (1280, 1920, 3),
        "SIDE_LEFT": (886, 1920, 3), "SIDE_RIGHT": (886, 1920, 3),
    }  # fmt: skip
    around = {"FRONT": 0, "FRONT_LEFT": 45, "FRONT_RIGHT": -45, "SIDE_LEFT": 90, "SIDE_RIGHT": -90}
    for name, yaw in around.items():
        forward, down = clip.cameras[name].ego_SE3_camera[:3, 2], clip.cameras[name].ego_SE3_camera[:3, 1]
        assert np.degrees(np.arctan2(forward[1], forward[0])) == pytest.approx(yaw, abs=2)
        assert down[2] < -0.99


def test_real_images_are_taken_as_the_columns_of_top_pass(real):
    """A frame starts at the rear and turns clockwise: left, front, right."""
    clip, frame = real
    delay = {name: camera.timestamps_us[0] - frame.integer(2, "time") for name, camera in clip.cameras.items()}
    order = ("SIDE_LEFT", "FRONT_LEFT", "FRONT", "FRONT_RIGHT", "SIDE_RIGHT")
    for name, share in zip(order, (0.25, 0.375, 0.5, 0.625, 0.75), strict=True):
        assert delay[name] == pytest.approx(share * 100_000, abs=7_000)


def test_real_boxes_fall_where_waymo_has_projected_them(real):
    """Corners of 3D boxes, through our poses and lenses, against the 2D boxes of the record: 0.25 pixels."""
    clip, frame = real
    world_SE3_ego = frame.message(3, "pose").doubles(1, "transform").reshape(4, 4)
    corners = {}
    for label in frame.messages(6, "laser_labels"):
        x, y, z, width, length, height, heading = (label.message(1, "box").double(k, "box") for k in range(1, 8))
        signs = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), -1).reshape(-1, 3) / 2
        turn = np.array([[np.cos(heading), -np.sin(heading), 0], [np.sin(heading), np.cos(heading), 0], [0, 0, 1]])
        corners[label.text(4, "id")] = to_world(signs * [length, width, height] @ turn.T + [x, y, z], world_SE3_ego)
    compared = 0
    for labels in frame.messages(9, "projected_lidar_labels"):
        camera = clip.cameras[CAMERAS[labels.integer(1, "name")]]
        size = np.array([camera.model.width, camera.model.height])
        for label in labels.messages(2, "labels"):
            world = corners[label.text(4, "id").removesuffix(f"_{camera.name}")]
            uv, _ = camera.model.project(to_world(world, np.linalg.inv(camera.world_SE3_camera[0])))
            if np.isnan(uv).any():
                continue
            u, v, height, width = (label.message(1, "box").double(k, "box") for k in (1, 2, 4, 5))
            found = np.clip([uv.min(0) + 0.5, uv.max(0) + 0.5], 0, size)
            expected = [[u - width / 2, v - height / 2], [u + width / 2, v + height / 2]]
            assert np.abs(found - expected).max() < 0.25
            compared += 1
    assert compared > 50


def test_real_range_images(test_data):
    """Records that are too large to be among the test data: read where a user has put them there."""
    names = ("two_frame.tfrecord", "frame_with_lidar_segmentation.tfrecord", "wod_one_frame.tfrecord")
    files = [path for name in names if (path := test_data / "waymo" / "v1" / name).is_file()]
    if not files:
        pytest.skip(
            "no real range image at hand: put two_frame.tfrecord or frame_with_lidar_segmentation.tfrecord of "
            "waymo-research/waymo-open-dataset (src/waymo_open_dataset/v2/perception/compat_v1/testdata/), or "
            "wod_one_frame.tfrecord of keras-team/keras-cv (keras_cv/src/datasets/waymo/test_data/) into waymo/v1/"
        )
    for path in files:
        for clip in open_clips(path):
            assert list(clip.lidars) == list(LIDARS.values())
            assert check_clip(clip).problems == ()
            assert (clip.range_map(0) > 0).mean() > 0.3
            ground = clip.points(0)[:, 2] + clip.lidar.ego_SE3_lidar[2, 3]
            assert abs(np.median(ground[ground < 0.5])) < 0.5  # most low points are the road


def test_classes_of_its_label_map(tmp_path):
    recording = record_drive.__wrapped__(1)  # not the cached one, as it is changed
    labels = recording.frames[0].lasers[1].labels[0]
    labels[..., 1] = np.where(labels[..., 1] > 0, np.arange(labels[..., 1].size).reshape(labels.shape[:2]) % 23, 0)
    write_tfrecord(tmp_path / f"segment-{SEGMENT}_with_camera_labels.tfrecord", recording)
    (clip,) = open_clips(tmp_path)
    found, label_map = clip.lidar.read(0).labels, load_label_map("waymo")
    assert set(np.unique(found)) == set(CLASS_NAMES)
    assert np.array_equal(label_map.apply(found) == label_map.classes.index("vegetation"), found == 15)
