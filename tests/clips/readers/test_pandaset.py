"""PandaSet sequences: a synthetic drive written as its tables, classes, images and poses, and broken ones."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.clips.label_maps import load_label_map
from cosmos_lidar.clips.poses import interpolate_poses
from cosmos_lidar.clips.readers.pandaset import CLASS_NAMES, FRONT_SE3_PANDAR64, GT_SE3_PANDAR64, PANDAR64_SE3_GT
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import load_sensor, range_map_to_points
from cosmos_lidar.viz.images import write_png
from tests.clips.pickled_frames import dumps, new_frame, old_frame
from tests.clips.readers.synthetic import drive, recorded, sensor

START_US, FRAMES = 1_557_539_924_500_000, 3
# Axes of the Pandar64 in the published calibration: x left, y backward, z up.
PANDAR64_SE3_OURS = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def lidar_pose(time_s: float) -> np.ndarray:
    """world_SE3_lidar (4, 4) in axes x forward, y left, z up."""
    return drive().lidar.read.__self__.world_SE3_lidar(time_s)


def entry(pose: np.ndarray) -> dict[str, dict[str, float]]:
    """A pose as PandaSet writes it; the quaternion by the largest of its four parts."""
    r = pose[:3, :3]
    parts = np.array([1 + np.trace(r), 1 + 2 * r[0, 0] - np.trace(r), 1 + 2 * r[1, 1] - np.trace(r),
                      1 + 2 * r[2, 2] - np.trace(r)])  # fmt: skip
    k = int(parts.argmax())
    s = parts[k] ** 0.5 * 2
    w = [s / 4, (r[2, 1] - r[1, 2]) / s, (r[0, 2] - r[2, 0]) / s, (r[1, 0] - r[0, 1]) / s]
    x = [(r[2, 1] - r[1, 2]) / s, s / 4, (r[0, 1] + r[1, 0]) / s, (r[0, 2] + r[2, 0]) / s]
    y = [(r[0, 2] - r[2, 0]) / s, (r[0, 1] + r[1, 0]) / s, s / 4, (r[1, 2] + r[2, 1]) / s]
    z = [(r[1, 0] - r[0, 1]) / s, (r[0, 2] + r[2, 0]) / s, (r[1, 2] + r[2, 1]) / s, s / 4]
    heading = dict(zip("wxyz", map(float, [w, x, y, z][k]), strict=True))
    return {"position": dict(zip("xyz", map(float, pose[:3, 3]), strict=True)), "heading": heading}


def world_points(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (N, 3) of a sweep in the world, each from where the lidar was at its time, and times (N,) in seconds."""
    sweep = recorded(index)
    seen = range_map_to_points(sweep.range_m, sensor()).astype(np.float64)
    times = sweep.time_us[sweep.range_m > 0] / 1e6
    grid = np.linspace(0, 0.1, 101)
    poses = np.stack([lidar_pose(0.1 * index + time) for time in grid])
    own = interpolate_poses(poses, grid, times)
    return np.einsum("nij,nj->ni", own[:, :3, :3], seen) + own[:, :3, 3], times


def frame(index: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The table of a sweep, every fifth point once more for the PandarGT, and the classes of its rows."""
    sweep = recorded(index)
    points, times = world_points(index)
    intensity, labels = sweep.intensity[sweep.range_m > 0] * 255, sweep.labels[sweep.range_m > 0]
    rows = np.concatenate([np.arange(len(points)), np.arange(0, len(points), 5)])
    table = {
        "x": points[rows, 0], "y": points[rows, 1], "z": points[rows, 2], "i": np.rint(intensity[rows]).astype(float),
        "t": START_US / 1e6 + 0.1 * index + times[rows], "d": (np.arange(len(rows)) >= len(points)).astype(int),
    }  # fmt: skip
    return table, labels[rows].astype(np.int64)


def pack(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, 1))


def write_sample(root: Path, make: object = old_frame) -> Path:
    """A sequence of three sweeps with the front camera; returns the folder of sequences."""
    folder = root / "pandaset" / "001"
    for index in range(FRAMES):
        table, labels = frame(index)
        pack(folder / "lidar" / f"{index:02d}.pkl.gz", dumps(make(table)))
        pack(folder / "annotations" / "semseg" / f"{index:02d}.pkl.gz", dumps(make({"class": labels})))
    middle_s = [0.1 * index + 0.05 for index in range(FRAMES)]
    front = [lidar_pose(time) @ np.linalg.inv(FRONT_SE3_PANDAR64 @ PANDAR64_SE3_OURS) for time in middle_s]
    camera = folder / "camera" / "front_camera"
    camera.mkdir(parents=True)
    (camera / "intrinsics.json").write_text(json.dumps({"fx": 1970.0, "fy": 1970.0, "cx": 970.0, "cy": 483.0}))
    (camera / "poses.json").write_text(json.dumps([entry(pose) for pose in front]))
    (camera / "timestamps.json").write_text(json.dumps([START_US / 1e6 + time for time in middle_s]))
    for index in range(FRAMES):
        write_png(camera / f"{index:02d}.jpg", np.full((1080, 1920, 3), 20 * index, np.uint8))
    y_forward = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    poses = [entry(lidar_pose(time) @ y_forward) for time in middle_s]
    (folder / "lidar" / "poses.json").write_text(json.dumps(poses))
    (folder / "lidar" / "timestamps.json").write_text(json.dumps([START_US / 1e6 + time for time in middle_s]))
    return folder.parent


@pytest.fixture(scope="module")
def sequences(tmp_path_factory) -> Path:
    return write_sample(tmp_path_factory.mktemp("data"))


def test_points_come_back_in_the_world(sequences):
    (clip,) = open_clips(sequences)
    assert (clip.clip_id, list(clip.lidars), clip.notes) == ("001", ["pandar64", "pandar_gt"], ())
    for index in range(FRAMES):
        points, times = world_points(index)
        for lidar, step in ((clip.lidars["pandar64"], 1), (clip.lidars["pandar_gt"], 5)):
            sweep, pose = lidar.read(index), lidar.world_SE3_lidar[index, 0]
            assert np.allclose(sweep.points @ pose[:3, :3].T + pose[:3, 3], points[::step], atol=1e-4)
            assert np.allclose(sweep.time_us, times[::step] * 1e6, atol=1)
            assert np.array_equal(sweep.labels, recorded(index).labels[recorded(index).range_m > 0][::step])
        assert clip.timestamps_us[index].tolist() == [START_US + 100_000 * index, START_US + 100_000 * (index + 1)]
    assert clip.motion_compensated
    assert not check_clip(clip).problems


def test_the_lidar_is_where_it_was(sequences):
    (clip,) = open_clips(sequences / "001")
    for index in range(FRAMES):
        assert np.allclose(clip.world_SE3_lidar[index, 0], lidar_pose(0.1 * index), atol=5e-3)
    # The sweep as the sensor saw it: all but points at edges of pixels fall into the pixels that the drive has.
    projected = clip.with_lidar(sensor=sensor()).range_map(1)
    sent = recorded(1).range_m
    both = (projected > 0) & (sent > 0)
    assert both.sum() > 0.97 * (sent > 0).sum()
    assert np.percentile(np.abs(projected[both] - sent[both]), 95) < 0.02


def test_the_second_lidar_is_in_front_of_the_first(sequences):
    assert PANDAR64_SE3_GT[:3, 3] == pytest.approx([0.598, 0.024, 0.315], abs=2e-3)
    assert np.allclose(np.diag(PANDAR64_SE3_GT), 1, atol=2e-3)
    origin = np.linalg.inv(GT_SE3_PANDAR64)[:3, 3]  # x left, y backward
    assert PANDAR64_SE3_GT[:3, 3] == pytest.approx([-origin[1], origin[0], origin[2]])


def test_the_camera_looks_forward(sequences):
    (clip,) = open_clips(sequences)
    camera = clip.cameras["front_camera"]
    world_SE3_lidar = lidar_pose(0.15)
    lidar_SE3_camera = np.linalg.inv(world_SE3_lidar) @ camera.world_SE3_camera[1]
    assert lidar_SE3_camera[:3, 2] == pytest.approx([1, 0, 0], abs=0.05)
    uv, _ = camera.model.project(np.array([[0.1, 0.0, 1.0]]))
    assert uv[0] == pytest.approx([970 + 197, 483])
    assert camera.read(2).shape == (1080, 1920, 3)


def test_frames_of_newer_pandas_and_of_bare_lidars(tmp_path, sequences):
    other = write_sample(tmp_path, new_frame) / "001"
    for folder in ("camera", "annotations"):
        (other / folder).rename(tmp_path / folder)
    (clip,) = open_clips(other)
    (full,) = open_clips(sequences)
    assert "those of lidar/poses.json" in clip.notes[0]
    assert clip.read_sweep(0).labels is None
    assert np.allclose(clip.points(1), full.points(1), atol=5e-3)


def test_pandar64_has_the_angles_of_the_published_model(test_data):
    ours = load_sensor("pandar64")
    theirs = load_sensor(test_data / "sensor_models" / "ncore_pandar64_pandaset.json")
    shift = np.degrees(ours.row_elevations_rad - theirs.row_elevations_rad)
    assert shift == pytest.approx(np.full(64, 0.012), abs=1.5e-3)  # a unit with one and the same error of all beams
    assert ours.row_azimuth_offsets_rad == pytest.approx(theirs.row_azimuth_offsets_rad, abs=1e-5)
    assert (ours.shape, ours.clockwise) == (theirs.shape, theirs.clockwise)


def _table(folder: Path, **changes: np.ndarray) -> None:
    table, _ = frame(1)
    pack(folder / "lidar" / "01.pkl.gz", dumps(old_frame({**table, **changes})))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda folder: (folder / "lidar/01.pkl.gz").write_bytes(b"no gzip"), "not a readable data frame"),
        (lambda folder: pack(folder / "lidar/01.pkl.gz", b"cposix\nsystem\n(S'true'\ntR."), "refers to posix.system"),
        (lambda folder: pack(folder / "lidar/01.pkl.gz", dumps({"x": 1})), "expected a data frame"),
        (lambda folder: pack(folder / "lidar/01.pkl.gz", dumps(old_frame({"x": np.zeros(3)}))), "key y"),
        (lambda folder: _table(folder, t=np.zeros(len(frame(1)[0]["t"]))), "times of another sweep.*key t"),
        (lambda folder: _table(folder, d=np.full(len(frame(1)[0]["d"]), 7)), "no point of this lidar.*key d"),
        (
            lambda folder: pack(folder / "annotations/semseg/01.pkl.gz", dumps(old_frame({"class": np.zeros(3)}))),
            "3 classes for",
        ),
    ],
)
def test_broken_tables_are_named(tmp_path, change, found):
    folder = write_sample(tmp_path) / "001"
    change(folder)
    (clip,) = open_clips(folder)
    with pytest.raises(DataError, match=found) as caught:
        clip.read_sweep(1)
    assert (caught.value.clip, caught.value.file.name) == ("001", "01.pkl.gz")
    assert len(clip.read_sweep(2).points)


def test_tables_that_unpack_to_more_than_the_limit_are_refused(tmp_path, monkeypatch):
    folder = write_sample(tmp_path) / "001"
    pack(folder / "lidar" / "01.pkl.gz", pickle.dumps(bytes(30_000_000)))
    monkeypatch.setattr("cosmos_lidar.bounds.LARGEST_ITEM", 10_000_000)
    (clip,) = open_clips(folder)
    with pytest.raises(DataError, match=r"what it unpacks to would take .*01\.pkl\.gz"):
        clip.read_sweep(1)


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("poses.json", "[]", "0 poses"),
        ("poses.json", '[{"heading": 1}]', "no poses"),
        ("poses.json", "{", "not JSON"),
        ("timestamps.json", "[3, 2, 1]", "do not increase"),
        ("timestamps.json", "[1]", "1 times"),
        ("timestamps.json", '["a", "b", "c"]', "no poses"),
        ("intrinsics.json", '{"fx": 1}', "no intrinsics"),
        ("intrinsics.json", '{"fx": 1, "fy": 1, "cx": 1e999, "cy": 1}', "not finite"),
    ],
)
def test_broken_calibration_is_named(tmp_path, sequences, name, text, found):
    folder = write_sample(tmp_path) / "001"
    (folder / "camera" / "front_camera" / name).write_text(text)
    with pytest.raises(DataError, match=found) as caught:
        open_clips(folder)
    assert (caught.value.clip, caught.value.file.parent.name) == ("001", "front_camera")


def test_classes_of_its_label_map(tmp_path: Path) -> None:
    root = write_sample(tmp_path)
    classes = np.arange(len(frame(0)[1])) % 43
    pack(root / "001" / "annotations" / "semseg" / "00.pkl.gz", dumps(old_frame({"class": classes})))
    (clip,) = open_clips(root)
    labels, label_map = clip.lidar.read(0).labels, load_label_map("pandaset")
    assert np.array_equal(labels, classes[: len(labels)])
    assert set(np.unique(labels)) == set(CLASS_NAMES)
    cars = labels == 13
    assert np.array_equal(label_map.apply(labels) == label_map.classes.index("car"), cars)
