"""Waymo Open v2: components of the same synthetic drive as the records of v1 give the same clip."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.readers.waymo.geometry import CAMERAS, LIDARS
from cosmos_lidar.clips.readers.waymo_v2 import recognise
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import uniform_sensor
from tests.clips.readers.waymo_records import (
    FIRST_US,
    SEGMENT,
    component_rows,
    record_drive,
    without_lasers,
    write_component,
    write_components,
    write_tfrecord,
)

pytest.importorskip("pyarrow", reason="extra parquet is not installed")


def write_sample(root: Path) -> Path:
    write_components(root / "training", record_drive())
    return root


@pytest.fixture
def both(tmp_path):
    """The clips of v1 and v2."""
    (first,) = open_clips(write_tfrecord(tmp_path / "v1" / "segment-a.tfrecord", record_drive()).parent)
    (second,) = open_clips(write_sample(tmp_path / "v2"))
    return first, second


def world(clip, name, index) -> np.ndarray:
    lidar = clip.lidars[name]
    pose = lidar.world_SE3_lidar[index, 0]
    return lidar.points(index) @ pose[:3, :3].T + pose[:3, 3]


def test_both_versions_give_the_same_clip(both):
    first, second = both
    assert (second.clip_id, second.format, second.notes) == (SEGMENT, "waymo_v2", ())
    assert list(first.lidars) == list(second.lidars)
    assert list(first.cameras) == list(second.cameras)
    for name, lidar in first.lidars.items():
        other = second.lidars[name]
        assert np.array_equal(lidar.timestamps_us, other.timestamps_us)
        assert lidar.frame_ids == other.frame_ids
        assert lidar.sensor.to_yaml() == other.sensor.to_yaml()
        assert np.array_equal(lidar.ego_SE3_lidar, other.ego_SE3_lidar)
        assert lidar.motion_compensated is other.motion_compensated is True
        assert np.abs(lidar.world_SE3_lidar - other.world_SE3_lidar).max() < 0.001


@pytest.mark.parametrize("name", LIDARS.values())
def test_both_versions_give_the_same_sweeps(both, name):
    first, second = (clip.lidars[name] for clip in both)
    for index in range(3):
        one, other = first.read(index), second.read(index)
        assert np.array_equal(first.range_map(index), second.range_map(index))
        for a, b in ((one, other), (one.second_return, other.second_return)):
            assert a.held == b.held
            for value in a.held:
                if value not in ("points", "second_return"):
                    assert np.array_equal(getattr(a, value), getattr(b, value)), value
        assert np.abs(world(both[0], name, index) - world(both[1], name, index)).max() < 1e-4
        for second_return in (False, True):
            projections = (lidar.read.camera_projections(index, second_return) for lidar in (first, second))
            assert np.array_equal(*projections)


def test_points_lie_where_they_are_in_the_world(both):
    for index, frame in enumerate(record_drive().frames):
        for number, name in LIDARS.items():
            expected = frame.lasers[number].world_points
            expected = expected[np.isfinite(expected[..., 0])]
            assert np.abs(world(both[1], name, index)[: len(expected)] - expected).max() < 1e-4


def test_both_versions_give_the_same_images(both):
    for name in CAMERAS.values():
        one, other = (clip.cameras[name] for clip in both)
        assert one.model == other.model
        assert np.array_equal(one.timestamps_us, other.timestamps_us)
        assert np.array_equal(one.world_SE3_camera, other.world_SE3_camera)
        assert np.array_equal(one.lidar_SE3_camera, other.lidar_SE3_camera)
        for index in (0, 2, 1):
            assert np.array_equal(one.read(index), other.read(index))


@pytest.mark.parametrize("group", [1, 4, 1000])
def test_any_size_of_row_groups_and_any_order(tmp_path, group):
    (clip,) = open_clips(write_components(tmp_path, record_drive(), group))
    images = [frame.lasers[4].images[0][..., 0] for frame in record_drive().frames]
    lidar = pickle.loads(pickle.dumps(clip)).lidars["SIDE_RIGHT"]
    for index in (2, 0, 1, 1):
        assert np.array_equal(lidar.range_map(index), np.where(images[index] > 0, images[index], 0))


def test_poses_without_images_are_those_between_frames(tmp_path):
    write_components(tmp_path, record_drive())
    for component in ("camera_image", "camera_calibration"):
        (tmp_path / component / f"{SEGMENT}.parquet").unlink()
    (clip,) = open_clips(tmp_path)
    assert clip.cameras == {}
    (exact,) = open_clips(write_tfrecord(tmp_path / "v1" / "segment-a.tfrecord", record_drive()))
    assert 0 < np.abs(clip.world_SE3_lidar - exact.world_SE3_lidar).max() < 0.01
    assert np.abs(world(clip, "TOP", 0) - world(exact, "TOP", 0)).max() < 1e-4


def test_without_pixel_poses_there_are_range_images_alone(tmp_path):
    write_components(tmp_path, record_drive())
    for component in ("lidar_pose", "lidar_segmentation", "lidar_camera_projection"):
        (tmp_path / component / f"{SEGMENT}.parquet").unlink()
    (clip,) = open_clips(tmp_path)
    assert clip.notes == ("TOP: no lidar_pose on disk, its points are not compensated for motion",)
    assert not clip.motion_compensated
    assert clip.lidars["FRONT"].motion_compensated
    sweep = clip.read_sweep(0)
    assert sweep.held == ("range_m", "intensity", "elongation", "second_return")
    assert clip.lidar.read.camera_projections(0) is None
    ends = clip.world_SE3_lidar[0]
    assert np.linalg.norm(ends[1, :3, 3] - ends[0, :3, 3]) > 0.5


def test_frames_without_lidar_and_rows_in_another_order(tmp_path):
    recording = record_drive()
    frames = [recording.frames[2], recording.frames[0], without_lasers(recording.frames[1])]
    (clip,) = open_clips(write_components(tmp_path, replace(recording, frames=frames)))
    assert (len(clip), len(clip.cameras["FRONT"])) == (2, 3)
    assert clip.frame_ids == (str(FIRST_US), str(FIRST_US + 200_000))
    image = recording.frames[2].lasers[1].images[0][..., 0]
    assert np.array_equal(clip.range_map(1), np.where(image > 0, image, 0))
    assert clip.notes[0] == "TOP: 1 of 3 frames have no sweep"


def test_cameras_alone_and_another_sensor(tmp_path):
    recording = record_drive()
    write_components(tmp_path, recording)
    sensor = uniform_sensor(16, 90, 4.0, -20.0)
    assert open_clips(tmp_path, sensor=sensor)[0].range_map(0).shape == (16, 90)
    (tmp_path / "lidar" / f"{SEGMENT}.parquet").unlink()
    (clip,) = open_clips(tmp_path)
    assert (clip.lidars, clip.notes, list(clip.cameras)) == ({}, ("no lidar in it",), list(CAMERAS.values()))


def test_sensors_by_their_names(tmp_path):
    """The public keypoint file has names of cameras where the classes have numbers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    write_components(tmp_path, record_drive())
    for component, key, names in (("lidar", "key.laser_name", LIDARS), ("camera_image", "key.camera_name", CAMERAS)):
        path = tmp_path / component / f"{SEGMENT}.parquet"
        table = pq.read_table(path)
        at, numbers = table.schema.get_field_index(key), table.column(key).to_pylist()
        pq.write_table(table.set_column(at, key, pa.array([names[number] for number in numbers])), path)
    (clip,) = open_clips(tmp_path)
    assert (list(clip.lidars), list(clip.cameras)) == (list(LIDARS.values()), list(CAMERAS.values()))


def test_recognised_by_names(tmp_path):
    path = write_sample(tmp_path)
    pose = path / "training" / "vehicle_pose" / f"{SEGMENT}.parquet"
    for one in (path, path / "training", pose.parent, pose):
        assert recognise(one) == Strength.EXACT
        assert [clip.clip_id for clip in open_clips(one)] == [SEGMENT]
    assert recognise(path / "training" / "lidar") == Strength.NONE
    assert recognise(tmp_path / "nothing") == Strength.NONE


BROKEN = [
    ("vehicle_pose", "key.frame_timestamp_micros", [FIRST_US] * 3, "two frames at"),
    ("vehicle_pose", "key.segment_context_name", ["a", "b", "a"], "2 segments"),
    ("vehicle_pose", "[VehiclePoseComponent].world_from_vehicle.transform", [[1.0] * 16] * 3, "no rigid motion"),
    ("vehicle_pose", "[VehiclePoseComponent].world_from_vehicle.transform", [None] * 3, r"shape \(0,\)"),
    ("vehicle_pose", "key.frame_timestamp_micros", None, "no such column.*key key.frame_timestamp_micros"),
    ("lidar", "key.laser_name", [9] * 15, "key.laser_name, row 0.*5 REAR"),
    ("lidar", "key.laser_name", [1] * 15, "TOP twice at"),
    ("lidar", "key.frame_timestamp_micros", list(range(15)), "no vehicle_pose at 0 us"),
    ("lidar", "[LiDARComponent].range_image_return1.shape", [[16, 90, 4]] * 15, "Expected: 8, columns, 4|Expected: sh"),
    ("lidar", "[LiDARComponent].range_image_return1.shape", [[0, 0, 0]] * 15, r"shape \[0, 0, 0\]"),
    ("lidar", "[LiDARComponent].range_image_return1.values", [[1.0]] * 15, "1 values of shape"),
    ("lidar", "[LiDARComponent].range_image_return1.values", [None] * 15, "no first return"),
    ("lidar_pose", "[LiDARPoseComponent].range_image_return1.shape", [[16, 180, 5]] * 3, r"shape \(16, 180, 6\)"),
    ("lidar_calibration", "key.laser_name", [2, 2, 3, 4, 5], "FRONT twice"),
    ("lidar_calibration", "[LiDARCalibrationComponent].extrinsic.transform", [None] * 5, r"shape \(0,\)"),
    ("lidar_calibration", "[LiDARCalibrationComponent].beam_inclination.min", [None] * 5, "None in it"),
    ("lidar_calibration", "[LiDARCalibrationComponent].beam_inclination.values", [[0.1] * 16] * 5, "that do not rise"),
    (
        "lidar_calibration",
        "[LiDARCalibrationComponent].beam_inclination.values",
        [[0.1] * 7] * 5,
        "Expected: 7, columns",
    ),
    ("camera_calibration", "[CameraCalibrationComponent].intrinsic.k3", [float("nan")] * 5, "not finite"),
    ("camera_calibration", "[CameraCalibrationComponent].width", [0] * 5, "not a camera"),
    ("camera_image", "[CameraImageComponent].pose_timestamp", [None] * 15, "None in it"),
    ("camera_image", "[CameraImageComponent].image", [b"abc"] * 15, "not a readable image"),
    ("camera_image", "[CameraImageComponent].image", [None] * 15, "no image"),
]


@pytest.mark.parametrize(("component", "column", "values", "problem"), BROKEN)
def test_a_wrong_column_is_refused_by_name(component, column, values, problem, tmp_path):
    write_components(tmp_path, record_drive())
    rows = component_rows(record_drive())[component]
    for row, value in zip(rows, values or rows, strict=True):
        row.pop(column) if values is None else row.update({column: value})
    write_component(tmp_path / component / f"{SEGMENT}.parquet", rows)
    with pytest.raises(DataError, match=problem) as caught:
        read_all(tmp_path)
    assert caught.value.clip == SEGMENT or component in str(caught.value.file)


def read_all(path: Path) -> None:
    for clip in open_clips(path):
        for stream in (*clip.lidars.values(), *clip.cameras.values()):
            stream.read(0)


@pytest.mark.parametrize("component", ["vehicle_pose", "lidar_calibration", "camera_calibration"])
def test_a_component_that_is_needed_is_named(component, tmp_path):
    write_components(tmp_path, record_drive())
    (tmp_path / component / f"{SEGMENT}.parquet").unlink()
    with pytest.raises(DataError, match=f"no {component} on disk"):
        open_clips(tmp_path)
    errors: list[DataError] = []
    assert open_clips(tmp_path, on_error=errors.append) == []
    assert errors[0].clip == SEGMENT


@pytest.mark.parametrize("number", [1, 3])
def test_a_missing_calibration_is_named(number, tmp_path):
    write_components(tmp_path, record_drive())
    for component, key, name in (("lidar_calibration", "key.laser_name", LIDARS[number]),
                                 ("camera_calibration", "key.camera_name", CAMERAS[number])):  # fmt: skip
        rows = component_rows(record_drive())[component]
        write_component(tmp_path / component / f"{SEGMENT}.parquet", [row for row in rows if row[key] != number])
        with pytest.raises(DataError, match=f"no calibration of {name}"):
            open_clips(tmp_path)
        write_component(tmp_path / component / f"{SEGMENT}.parquet", rows)


def test_truncated_components(tmp_path):
    write_components(tmp_path, record_drive())
    for component in component_rows(record_drive()):
        path = tmp_path / component / f"{SEGMENT}.parquet"
        whole = path.read_bytes()
        path.write_bytes(whole[:-9])
        with pytest.raises(DataError, match="not a readable Parquet file") as caught:
            open_clips(tmp_path)
        assert caught.value.file == path
        path.write_bytes(whole)


def test_a_real_segment_without_sensors(test_data):
    """199 real poses, nothing to see: refused with the reason."""
    with pytest.raises(DataError, match="neither lidar nor camera in it"):
        open_clips(test_data / "waymo" / "v2")
