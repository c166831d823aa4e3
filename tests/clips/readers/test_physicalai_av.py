"""PhysicalAI-AV recordings: a synthetic drive encoded in every layout comes back; what is broken is named."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.health import check_clip
from cosmos_lidar.clips.poses import interpolate_poses
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import load_sensor
from tests.clips.readers.physicalai_av.recording import (
    CAMERA,
    FIRST_US,
    LIDAR,
    ONE,
    OTHER,
    SHUTTER_US,
    STEP_M,
    Recording,
    cloud,
    draco,
    quaternion,
)
from tests.clips.readers.synthetic import EGO_SE3_CAMERA, EGO_SE3_LIDAR, ego_pose, recorded, sensor


def write_sample(root: Path) -> Path:
    """Two clips as chunk zips."""
    return Recording().write_chunks(root / "PhysicalAI")


def open_one(path: Path) -> object:
    (clip,) = (clip for clip in open_clips(path) if clip.clip_id == ONE)
    return clip


def test_points_come_back_in_the_world_to_within_quantisation(tmp_path):
    clip = open_one(write_sample(tmp_path))
    for index in range(3):
        start, end = clip.timestamps_us[index]
        got, made = clip.read_sweep(index), cloud(index)
        times = start + clip.lidar.cloud(index).time_us
        world_SE3_lidar = interpolate_poses(clip.world_SE3_lidar[index], clip.timestamps_us[index], times)
        world = np.einsum("nij,nj->ni", world_SE3_lidar[:, :3, :3], got.points) + world_SE3_lidar[:, :3, 3]
        poses = np.stack([ego_pose((time - FIRST_US) / 1e6) @ EGO_SE3_LIDAR for time in times])
        wanted = np.einsum("nij,nj->ni", poses[:, :3, :3], made["points"].astype(float)) + poses[:, :3, 3]
        assert np.abs(got.points - made["points"]).max() <= STEP_M / 2 + 3e-5
        assert np.linalg.norm(world - wanted, axis=1).max() <= STEP_M / 2 * 3**0.5 + 2e-3  # poses between poses
        assert (start, end) == (FIRST_US + index * 100_000, FIRST_US + (index + 1) * 100_000)


def test_range_maps_are_those_of_the_drive(tmp_path):
    clip = open_one(write_sample(tmp_path))
    for index in range(3):
        sent, got = recorded(index), clip.read_sweep(index)
        assert np.array_equal(sent.range_m > 0, got.range_m > 0)
        assert np.abs(sent.range_m - got.range_m).max() <= STEP_M / 2 * 3**0.5 + 1e-5
        assert np.array_equal(np.rint(sent.intensity * 255)[sent.range_m > 0], got.intensity[got.range_m > 0])
        assert np.array_equal(sent.time_us[sent.range_m > 0], got.time_us[got.range_m > 0])
        assert (got.ring, got.second_return, got.without_return) == (None, None, 0)
    assert clip.sensor.first_azimuth_rad == pytest.approx(sensor().first_azimuth_rad)
    assert np.allclose(clip.sensor.row_azimuth_offsets_rad, sensor().row_azimuth_offsets_rad)
    assert not clip.motion_compensated
    assert not check_clip(clip).problems


def test_all_layouts_give_the_same_clips(tmp_path):
    made = Recording()
    paths = [made.write_clips(tmp_path / "clips"), made.write_tree(tmp_path / "tree")]
    paths += [made.write_chunks(tmp_path / "chunks")]
    opened = [open_clips(path) for path in paths]
    for clips in opened:
        assert [clip.clip_id for clip in clips] == [ONE, OTHER]
        for clip, first in zip(clips, opened[0], strict=True):
            assert np.array_equal(clip.timestamps_us, first.timestamps_us)
            assert np.array_equal(clip.world_SE3_lidar, first.world_SE3_lidar)
            assert np.array_equal(clip.points(2), first.points(2))
            assert np.array_equal(clip.range_map(1), first.range_map(1))
            assert np.array_equal(clip.cameras[CAMERA].read(4), first.cameras[CAMERA].read(4))
            assert np.array_equal(clip.cameras[CAMERA].world_SE3_camera, first.cameras[CAMERA].world_SE3_camera)
            assert clip.notes == first.notes


@pytest.mark.parametrize(
    ("layout", "below", "count"),
    [
        ("write_clips", ONE, 1),
        ("write_clips", f"{ONE}/lidar/{ONE}.{LIDAR}.parquet", 1),
        ("write_tree", "lidar", 2),
        ("write_tree", f"lidar/{LIDAR}", 2),
        ("write_tree", f"lidar/{LIDAR}/{OTHER}.{LIDAR}.parquet", 1),
        ("write_chunks", "lidar", 2),
        ("write_chunks", f"lidar/{LIDAR}/{LIDAR}.chunk_0003.zip", 2),
    ],
)
def test_parts_of_it_are_opened_with_their_calibration(tmp_path, layout, below, count):
    clips = open_clips(getattr(Recording(), layout)(tmp_path) / below)
    assert len(clips) == count
    assert all(clip.world_SE3_lidar is not None and CAMERA in clip.cameras for clip in clips)


def test_offline_tables_and_labels_are_preferred(tmp_path):
    made = Recording()
    worse = np.array(EGO_SE3_LIDAR)
    worse[0, 3] += 0.5
    offline = made.calibration["sensor_extrinsics.offline"]
    made.calibration["sensor_extrinsics"] = [{**row, **quaternion(worse)} for row in offline]
    path = made.write_clips(tmp_path)
    egomotion = path / ONE / "labels" / f"{ONE}.egomotion.parquet"
    made._write(egomotion, [{**row, "x": row["x"] + 9} for row in made.egomotion[ONE]])
    best = open_one(path)
    assert np.allclose(best.lidar.ego_SE3_lidar, EGO_SE3_LIDAR)
    assert not any("as driven" in note for note in best.notes)
    for file in (*(path / ONE).rglob("*egomotion.offline*"), *(path / ONE).rglob("sensor_extrinsics.offline*")):
        file.unlink()
    driven = open_one(path)
    assert np.allclose(driven.lidar.ego_SE3_lidar, worse)
    assert driven.world_SE3_lidar[0, 0, 0, 3] - best.world_SE3_lidar[0, 0, 0, 3] == pytest.approx(9, abs=0.6)
    assert sum("as driven" in note for note in driven.notes) == 2


def test_cameras_have_lenses_mountings_and_middle_of_readout(tmp_path):
    clip = open_one(write_sample(tmp_path))
    camera = clip.cameras[CAMERA]
    assert camera.timestamps_us[0] == FIRST_US + SHUTTER_US - SHUTTER_US // 2
    assert len(camera) == 9
    assert np.allclose(camera.ego_SE3_camera, EGO_SE3_CAMERA)
    assert np.allclose(camera.lidar_SE3_camera, np.linalg.inv(EGO_SE3_LIDAR) @ EGO_SE3_CAMERA)
    seen_s = (camera.timestamps_us[5] - FIRST_US) / 1e6
    assert np.allclose(camera.world_SE3_camera[5], ego_pose(seen_s) @ EGO_SE3_CAMERA, atol=1e-3)
    uv, _ = camera.model.project(np.array([[np.tan(0.5), 0.0, 1.0]]))
    assert uv[0] == pytest.approx([31.5 + 40 * 0.5 - 0.5**3, 23.0])
    assert abs(int(camera.read(4).mean()) - 32) <= 3


def test_without_calibration_and_labels_points_remain(tmp_path):
    made = Recording()
    made.calibration = {}
    path = made.write_clips(tmp_path)
    (path / ONE / "labels" / f"{ONE}.egomotion.offline.parquet").unlink()
    clip = open_one(path)
    sweep = clip.read_sweep(1)
    assert (clip.sensor.name, clip.world_SE3_lidar, sweep.range_m) == ("pandar128_row_offset", None, None)
    assert np.array_equal(np.sort(sweep.ring), np.sort(cloud(1)["model_element"][:, 0]))
    assert clip.cameras[CAMERA].model is None
    for name in ("sensor_extrinsics", "lidar_intrinsics", "camera_intrinsics", "egomotion"):
        assert any(f"no table {name}" in note for note in clip.notes)
    assert any("vehicle itself are not left out" in note for note in clip.notes)


def test_a_sensor_that_is_given_gets_points(tmp_path):
    clip = open_clips(write_sample(tmp_path), sensor=load_sensor("uniform64"))[0]
    assert clip.read_sweep(0).range_m is None
    assert clip.range_map(0).shape == (64, 1024)


def test_older_releases_have_start_times_and_lenses_in_columns(tmp_path):
    made = Recording()
    for row in made.spins[ONE]:
        row["reference_timestamp"] = row.pop("spin_start_timestamp")
        row.pop("spin_end_timestamp")
        row["draco_encoded_pointcloud"] = draco({"points": cloud(0)["points"]})
    lens = {"width": 64, "height": 48, "cx": 31.5, "cy": 23.0, **{f"bw_poly_{n}": 0.025 * (n == 1) for n in range(5)}}
    columns = [{"clip_id": clip, "camera_name": CAMERA, **lens} for clip in (ONE, OTHER)]
    made.calibration["camera_intrinsics"] = columns
    del made.calibration["camera_intrinsics.offline"], made.calibration["lidar_intrinsics.offline"]
    clip = open_one(made.write_clips(tmp_path, (ONE,)))
    assert clip.timestamps_us[1].tolist() == [FIRST_US + 100_000, FIRST_US + 200_000]
    assert (clip.read_sweep(0).time_us, clip.read_sweep(0).ring) == (None, None)
    assert clip.cameras[CAMERA].model.project(np.array([[np.tan(0.5), 0.0, 1.0]]))[0][0, 0] == pytest.approx(51.5)
    assert any("an older release" in note for note in clip.notes)


def test_times_before_the_clock_of_the_clip(tmp_path):
    made = Recording()
    for row in made.spins[ONE]:
        row["spin_start_timestamp"] -= 90_000
        row["spin_end_timestamp"] -= 90_000
    shifted = cloud(0)
    shifted["timestamp"] = (shifted["timestamp"].astype(np.int64) - 90_000).astype(np.uint32)
    made.spins[ONE][0]["draco_encoded_pointcloud"] = draco(shifted)
    clip = open_one(made.write_clips(tmp_path, (ONE,)))
    sent = recorded(0)
    assert clip.timestamps_us[0, 0] == FIRST_US - 90_000
    got = clip.read_sweep(0)
    assert np.array_equal(got.time_us[got.range_m > 0], sent.time_us[sent.range_m > 0])
    assert any("30.0 ms short" in note for note in clip.notes)


def _spin(made: Recording, **changes: object) -> None:
    made.spins[ONE][1].update(changes)


def _column(made: Recording, table: str, **changes: object) -> None:
    for row in made.calibration[table]:
        row.update(changes)


BROKEN = {
    "a later start": (lambda made: _spin(made, spin_start_timestamp=0), "not later", "spin_start_timestamp"),
    "an early end": (lambda made: _spin(made, spin_end_timestamp=5), "ends at 5", "spin_end_timestamp"),
    "no times": (lambda made: [row.pop("spin_end_timestamp") for row in made.spins[ONE]], "no such column", "spin_end"),
    "texts for times": (
        lambda made: [row.update(spin_start_timestamp="x") for row in made.spins[ONE]],
        "'x' in it",
        "spin_start_timestamp",
    ),
    "another model": (
        lambda made: _column(made, "lidar_intrinsics.offline", model_type="solid-state"),
        "solid-state",
        "lidar_model_type",
    ),
    "a broken model": (
        lambda made: _column(made, "lidar_intrinsics.offline", model_parameters="{"),
        "not JSON",
        "model_parameters",
    ),
    "a number for a model": (
        lambda made: _column(made, "lidar_intrinsics.offline", model_parameters=3),
        "3",
        "model_parameters",
    ),
    "no such clip": (lambda made: _column(made, "lidar_intrinsics.offline", clip_id="x"), "no row", "clip_id"),
    "another lidar": (
        lambda made: _column(made, "lidar_intrinsics.offline", lidar_name="roof"),
        "rows of roof",
        LIDAR,
    ),
    "no rotation": (lambda made: _column(made, "sensor_extrinsics.offline", qw=7.0), "quaternion", "qw qx qy qz"),
    "no place": (lambda made: _column(made, "sensor_extrinsics.offline", x=None), "None in it", "x"),
    "a tiny vehicle": (lambda made: _column(made, "vehicle_dimensions", height=-1.0), "-1.0 m", "length width height"),
    "a lens without polynomial": (
        lambda made: _column(made, "camera_intrinsics.offline", model_parameters='{"reference_poly": "X"}'),
        "missing",
        "resolution",
    ),
    "motion without rotation": (
        lambda made: [row.update(qw=0.0, qx=0.0, qy=0.0, qz=0.0) for row in made.egomotion[ONE]],
        "unit length",
        "qw qx qy qz",
    ),
    "motion that stands still": (
        lambda made: [row.update(timestamp=5) for row in made.egomotion[ONE]],
        "not later",
        "timestamp",
    ),
    "images without order": (lambda made: made.images[ONE].reverse(), "not later", "timestamp"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_clips_are_named_and_others_open(tmp_path, name):
    change, found, key = BROKEN[name]
    made = Recording()
    change(made)
    path = made.write_clips(tmp_path, (ONE,))
    Recording().write_clips(tmp_path, (OTHER,))
    with pytest.raises(DataError, match=r"\.parquet") as caught:
        open_clips(path)
    assert found in caught.value.problem
    assert key in caught.value.key
    assert caught.value.clip == ONE
    errors: list[DataError] = []
    assert [clip.clip_id for clip in open_clips(path, on_error=errors.append)] == [OTHER]
    assert [error.key for error in errors] == [caught.value.key]


def test_cut_files_are_named(tmp_path):
    path = Recording().write_clips(tmp_path) / ONE
    for file in sorted(path.rglob("*.parquet")):
        whole = file.read_bytes()
        for size in (0, 3, len(whole) // 2, len(whole) - 1):
            file.write_bytes(whole[:size])
            with pytest.raises(DataError, match="not a readable Parquet") as caught:
                open_clips(path)
            assert str(file) == str(caught.value.file)
        file.write_bytes(whole)


def test_compressed_and_cut_chunks_are_refused(tmp_path):
    path = Recording().write_chunks(tmp_path / "packed", zipfile.ZIP_DEFLATED)
    with pytest.raises(DataError, match=r"compressed member.*chunk_0003\.zip.*stored uncompressed"):
        open_clips(path)
    path = write_sample(tmp_path)
    chunk = path / "lidar" / LIDAR / f"{LIDAR}.chunk_0003.zip"
    chunk.write_bytes(chunk.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"not a readable zip.*lidar_top_360fov\.chunk_0003\.zip"):
        open_clips(path)


def test_folders_without_clips(tmp_path):
    path = tmp_path / "lidar" / LIDAR
    path.mkdir(parents=True)
    with zipfile.ZipFile(path / f"{LIDAR}.chunk_0000.zip", "w"):
        pass
    with pytest.raises(DataError, match="no clip in it"):
        open_clips(tmp_path)
