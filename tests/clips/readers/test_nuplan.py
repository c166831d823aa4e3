"""A log of nuPlan, written in the published layouts: merged clouds in axes of the vehicle, whose mountings are not."""

from __future__ import annotations

import os
import pickle
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import find_readers, open_clips
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.errors import DataError
from tests.clips.readers.nuplan.logs import (
    CAMERA_M,
    CORNER,
    DISTORTION,
    FIRST_US,
    LOG,
    MOUNTS,
    STEP_US,
    about,
    camera_rotation,
    cloud,
    cloud_name,
    ego,
    navsim_frame,
    seen,
    write_cloud,
    write_database,
    write_log,
    write_navsim,
    write_sensors,
)

BLOBS = Path("nuplan-v1.1") / "sensor_blobs"
DATABASE = Path("nuplan-v1.1") / "splits" / "mini" / f"{LOG}.db"


def write_sample(root: Path) -> Path:
    """A log of three clouds and two images."""
    return write_log(root)


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    return write_log(tmp_path_factory.mktemp("nuplan"))


def test_lidars_times_and_fields(log):
    (clip,) = open_clips(log)
    assert (clip.clip_id, clip.format) == (LOG.replace(".", "_"), "nuplan")
    assert list(clip.lidars) == ["top", "side_left"]
    assert clip.frame_ids == tuple(Path(cloud_name(k)).stem for k in range(3))
    assert clip.timestamps_us.tolist() == [[FIRST_US + STEP_US * k, FIRST_US + STEP_US * k + 50_000] for k in range(3)]
    assert clip.sensor.shape == (40, 900)
    assert clip.lidar.rate_hz == pytest.approx(20.0, rel=1e-3)
    sweep = clip.read_sweep(1)
    assert sweep.ring.tolist() == seen(0, 0.05)[2].tolist()
    assert sweep.intensity.tolist() == (sweep.ring % 200).tolist()
    assert not clip.motion_compensated
    assert any("start of a sweep of 50 ms" in note for note in clip.notes)


@pytest.mark.parametrize(("number", "name"), [(0, "top"), (1, "side_left")])
def test_points_are_in_axes_of_their_lidar_and_poses_are_those_of_it(log, number, name):
    (clip,) = open_clips(log)
    lidar = clip.lidars[name]
    mounted, roll, pitch = MOUNTS[number]
    assert np.abs(lidar.ego_SE3_lidar[:3, 3] - mounted).max() < 0.003
    assert np.abs(lidar.ego_SE3_lidar[:3, 2] - (about(1, pitch) @ about(0, roll))[:, 2]).max() < 1e-3
    corner = np.floor(CORNER + ego(-0.05)[1] - ego(0.0)[1])
    assert f"coordinates of a map, less {', '.join(f'{value:.0f}' for value in corner)}" in clip.notes
    for index in range(3):
        seconds = STEP_US * index / 1e6
        theirs, vehicle, _ = seen(number, seconds)
        points = lidar.points(index)
        assert np.abs(np.linalg.norm(points, axis=1) - np.linalg.norm(theirs, axis=1)).max() < 0.005
        rotation, place, _ = ego(seconds)
        world = lidar.world_SE3_lidar[index, 0]
        assert np.abs(points @ world[:3, :3].T + world[:3, 3] - (vehicle @ rotation.T + place - corner)).max() < 0.005
    # The poses between are those of the database: 50 ms at 8 m/s.
    assert np.linalg.norm(np.diff(lidar.world_SE3_lidar[0, :, :3, 3], axis=0)) == pytest.approx(0.4, abs=0.02)


def test_the_range_map_of_the_top_lidar_is_full(log):
    (clip,) = open_clips(log)
    sweep = clip.read_sweep(0)
    seen_from_it = (clip.range_map(0) > 0).sum()
    from_the_rear_axle = clip.with_lidar(
        read=lambda index: type(sweep)(points=seen(0, STEP_US * index / 1e6)[1].astype("f4"))
    )
    assert len(sweep.points) == 40 * 120
    assert seen_from_it > 0.9 * len(sweep.points)  # some share a pixel: azimuths are random
    assert (from_the_rear_axle.range_map(0) > 0).sum() < 0.9 * seen_from_it


def test_cameras_see_the_points_through_the_lens(log):
    (clip,) = open_clips(log)
    camera = clip.cameras["CAM_F0"]
    assert camera.timestamps_us.tolist() == [FIRST_US + 12_000, FIRST_US + 2 * STEP_US + 12_000]
    assert camera.read(1).shape == (80, 96, 3)
    assert np.allclose(camera.ego_SE3_camera[:3, 3], CAMERA_M)
    assert np.allclose(camera.ego_SE3_camera[:3, :3], camera_rotation())
    rotation, place, _ = ego(0.012)
    corner = np.floor(CORNER + ego(-0.05)[1] - ego(0.0)[1])
    assert np.abs(camera.world_SE3_camera[0][:3, 3] - (rotation @ CAMERA_M + place - corner)).max() < 1e-3
    k1, k2, p1, p2, k3 = DISTORTION
    x, y = 0.3, -0.2
    r2 = x * x + y * y
    gain = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    u = 80 * (x * gain + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)) + 48
    v = 81 * (y * gain + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y) + 40
    assert camera.model.project(np.array([[3.0, -2.0, 10.0]]))[0] == pytest.approx(np.array([[u, v]]), abs=1e-9)


@pytest.mark.parametrize(
    "below",
    ["", "nuplan-v1.1", BLOBS, BLOBS / LOG, BLOBS / LOG / "MergedPointCloud", BLOBS / LOG / "CAM_F0", DATABASE],
)
def test_every_folder_of_the_dataset_is_recognized(log, below):
    found = {name: reader.recognise(log / below) for name, reader in find_readers().items()}
    assert [name for name, strength in found.items() if strength == Strength.EXACT] == ["nuplan"]
    (clip,) = open_clips(log / below)
    assert (len(clip), len(clip.cameras)) == (3, 1)
    assert clip.world_SE3_lidar is not None


def test_navsim_gives_the_same_clip_at_its_own_rate(tmp_path, log):
    write_sensors(tmp_path / "sensor_blobs" / "mini", 3)
    write_navsim(tmp_path / "navsim_logs" / "mini" / f"{LOG}.pkl", [navsim_frame(k) for k in (2, 0)])
    (clip,), (full,) = open_clips(tmp_path), open_clips(log)
    assert clip.frame_ids == (full.frame_ids[0], full.frame_ids[2])
    assert np.array_equal(clip.points(1), full.points(2))
    assert "1 files of MergedPointCloud are left out: the records do not list them" in clip.notes
    between = [
        np.linalg.inv(one.world_SE3_lidar[0, 0]) @ one.world_SE3_lidar[last, 0] for one, last in ((clip, 1), (full, 2))
    ]
    assert np.abs(between[0] - between[1]).max() < 2e-3
    camera, other = clip.cameras["CAM_F0"], full.cameras["CAM_F0"]
    assert camera.model == other.model
    assert np.allclose(camera.ego_SE3_camera, other.ego_SE3_camera)
    assert len(camera) == 2
    assert any("times of their own" in note for note in clip.notes)


def test_clouds_alone(tmp_path):
    write_sensors(tmp_path / "sensor_blobs" / "trainval", 2)
    (clip,) = open_clips(tmp_path / "sensor_blobs")
    assert (len(clip), clip.world_SE3_lidar, clip.cameras) == (2, None, {})
    assert np.diff(clip.timestamps_us[:, 0]).tolist() == [50_000]
    assert any("the order and the times of its clouds are not known" in note for note in clip.notes)


def test_logs_of_one_vehicle_are_looked_at_once(tmp_path, log, monkeypatch):
    from cosmos_lidar.clips.readers import nuplan

    looked = []
    monkeypatch.setattr(nuplan, "read_rig", lambda *given: looked.append(given[0]) or read(*given))
    from cosmos_lidar.clips.readers.nuplan.sweeps import read_rig as read

    for name in (LOG, LOG.replace("01008", "02008"), LOG.replace("veh-35", "veh-38")):
        (tmp_path / name).mkdir()
        os.symlink(log / BLOBS / LOG / "MergedPointCloud", tmp_path / name / "MergedPointCloud")
    assert len(open_clips(tmp_path)) == 3
    assert len(looked) == 2


def test_a_broken_first_cloud_is_passed_over(tmp_path, caplog):
    write_log(tmp_path)
    first = tmp_path / BLOBS / cloud_name(0)
    first.write_bytes(first.read_bytes()[:900])
    (clip,) = open_clips(tmp_path)
    assert list(clip.lidars) == ["top", "side_left"]
    assert first.name in caplog.text
    with pytest.raises(DataError, match="of .* bytes of .* points.*key DATA"):
        clip.read_sweep(0)


def test_clouds_without_rings_stay_in_axes_of_the_vehicle(tmp_path):
    fields = cloud(0.0)
    fields.pop("ring")
    write_cloud(tmp_path / LOG / "MergedPointCloud" / "a.pcd", fields)
    (clip,) = open_clips(tmp_path)
    assert np.allclose(clip.points(0), seen(0, 0.0)[1], atol=1e-4)
    assert np.array_equal(clip.lidar.ego_SE3_lidar, np.eye(4))
    assert any("top: its place does not follow from the rings" in note for note in clip.notes)
    fields.pop("lidar_info")
    write_cloud(tmp_path / LOG / "MergedPointCloud" / "a.pcd", fields)
    (clip,) = open_clips(tmp_path)
    assert (list(clip.lidars), len(clip.points(0))) == (["merged"], 2 * 40 * 120)


def test_a_lidar_that_a_cloud_lacks(tmp_path):
    write_log(tmp_path)
    write_cloud(tmp_path / BLOBS / cloud_name(1), cloud(0.05, (0,)))
    lidar = open_clips(tmp_path)[0].lidars["side_left"]
    with pytest.raises(
        DataError, match=f"no point of this lidar among 4800.*clip {LOG.replace('.', '_')}.*key lidar_info"
    ):
        lidar.read(1)
    assert len(lidar.read(2).points) == 4800
    fields = cloud(0.0)
    fields["lidar_info"] = fields["lidar_info"] + 7
    write_cloud(tmp_path / "other" / LOG / "MergedPointCloud" / "a.pcd", fields)
    with pytest.raises(DataError, match=r"lidars \[7, 8\].*key lidar_info.*0 to 4"):
        open_clips(tmp_path / "other")


def test_databases_without_sensor_data_are_refused(tmp_path):
    file = write_database(tmp_path / "splits" / "mini" / f"{LOG}.db", 2)
    for path in (tmp_path, file):
        with pytest.raises(DataError, match="records of logs without their sensor data"):
            open_clips(path)
    (tmp_path / "sensor_blobs" / LOG / "MergedPointCloud").mkdir(parents=True)
    with pytest.raises(DataError, match="no file of the log is on disk"):
        open_clips(tmp_path)
    errors = []
    assert open_clips(tmp_path, on_error=errors.append) == []
    assert len(errors) == 1


def test_cameras_alone(tmp_path):
    write_database(tmp_path / f"{LOG}.db", 2)
    write_sensors(tmp_path, 1)
    for file in (tmp_path / LOG / "MergedPointCloud").iterdir():
        file.unlink()
    (tmp_path / LOG / "MergedPointCloud").rmdir()
    (clip,) = open_clips(tmp_path)
    assert (clip.lidars, len(clip.cameras["CAM_F0"])) == ({}, 1)
    assert clip.cameras["CAM_F0"].lidar_SE3_camera is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("DROP TABLE lidar_pc", "not readable: no table lidar_pc"),
        ("DROP TABLE image; CREATE VIEW image AS SELECT * FROM camera", "not readable: image is no plain table"),
        ("DELETE FROM ego_pose", "no pose in it.*key ego_pose"),
        ("UPDATE ego_pose SET qw = 0, qz = 0", "no pose.*key ego_pose at .*unit quaternion"),
        ("UPDATE ego_pose SET x = 'far'", "a pose that is no number.*key ego_pose"),
        ("UPDATE ego_pose SET timestamp = 5", "times that do not increase.*key ego_pose"),
        ("UPDATE ego_pose SET timestamp = timestamp + 9000000", "no pose near .*key ego_pose"),
        ("UPDATE lidar_pc SET timestamp = 'now'", "not readable: a row 'now'.*of lidar_pc"),
        ("UPDATE lidar_pc SET filename = NULL", "not readable: a row .*of lidar_pc"),
        ("UPDATE camera SET width = -1", r"size \[-1, 80\].*key camera CAM_F0"),
        ("UPDATE camera SET intrinsic = X'00'", "not readable: no pickled numbers"),
        ("UPDATE camera SET intrinsic = zeroblob(999999)", r"shape \(\).*key camera CAM_F0, intrinsic"),
        ("UPDATE camera SET rotation = translation", "camera CAM_F0, rotation"),
    ],
)
def test_broken_databases(tmp_path, log, change, message):
    os.symlink(log / BLOBS, tmp_path / "sensor_blobs")
    file = write_database(tmp_path / "splits" / "mini" / f"{LOG}.db", 2)
    with closing(sqlite3.connect(file)) as database:
        database.executescript(change)
        database.commit()
    with pytest.raises(DataError, match=message) as refused:
        open_clips(tmp_path)
    assert refused.value.clip == LOG.replace(".", "_")


class _Runs:
    def __reduce__(self):
        return os.mkdir, ("ran",)


@pytest.mark.parametrize("where", ["database", "navsim"])
def test_nothing_in_a_pickle_is_run(tmp_path, monkeypatch, where):
    monkeypatch.chdir(tmp_path)
    write_sensors(tmp_path / "sensor_blobs", 1)
    if where == "navsim":
        write_navsim(tmp_path / "navsim_logs" / f"{LOG}.pkl", [{**navsim_frame(0), "can_bus": _Runs()}])
    else:
        file = write_database(tmp_path / f"{LOG}.db", 1)
        with closing(sqlite3.connect(file)) as database:
            database.execute("UPDATE camera SET intrinsic = ?", (pickle.dumps(_Runs()),))
            database.commit()
    with pytest.raises(DataError, match="mkdir, which may run anything"):
        open_clips(tmp_path)
    assert not (tmp_path / "ran").exists()
