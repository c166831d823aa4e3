"""A log as the published format has it, written here: ego axes at the moment of the file name, two lidars in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.readers import av2
from cosmos_lidar.clips.recognition import Strength
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import uniform_sensor

arrow = pytest.importorskip("pyarrow")
feather = pytest.importorskip("pyarrow.feather")

FIRST_NS, STEP_NS, POSE_NS = 315_966_265_259_836_000, 100_000_000, 10_000_000
SPEED, TURN = 12.0, 0.4  # meters and radians per second
MOUNTS = {  # w x y z, meters
    "up_lidar": ((1.0, 0, 0, 0), (1.35, 0.0, 1.64)),
    "down_lidar": ((0.0, -1.0, 0, 0), (1.35, 0.0, 1.52)),  # upside down: half a turn about x
    "ring_front_center": ((0.5, -0.5, 0.5, -0.5), (1.63, 0.0, 1.4)),
}
WORLD = np.random.default_rng(1).uniform((20, -30, -2), (60, 30, 6), (400, 3))
OBJECT = np.array([45.0, 3.0, 1.0])


def city_SE3_ego(seconds: float) -> np.ndarray:
    """A vehicle on a circle."""
    angle = TURN * seconds
    pose = np.eye(4)
    pose[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    pose[:2, 3] = SPEED / TURN * np.sin(angle), SPEED / TURN * (1 - np.cos(angle))
    return pose


def write_table(path: Path, **columns: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    feather.write_feather(arrow.table(columns), path, compression="lz4")


def pose_columns(rows: list[tuple[tuple[float, ...], tuple[float, ...]]]) -> dict[str, np.ndarray]:
    names = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")
    return dict(zip(names, np.array([[*turn, *place] for turn, place in rows], float).T, strict=True))


def write_sweep(path: Path, ego_points: np.ndarray, laser: np.ndarray, offset_ns: np.ndarray, dtype=np.float64) -> None:
    xyz = {axis: ego_points[:, k].astype(dtype) for k, axis in enumerate("xyz")}
    write_table(
        path, **xyz, intensity=(np.arange(len(laser)) % 256).astype(np.uint8), laser_number=laser.astype(np.uint8),
        offset_ns=offset_ns.astype(np.int32),
    )  # fmt: skip


def write_log(root: Path, sweeps: int = 3, images: int = 0, dtype=np.float64) -> Path:
    """Write a log whose sweeps hold the points ``WORLD``, alternately of both lidars, in order of time."""
    log = root / "val" / "7fab2350-7eaf"
    for k in range(sweeps):
        stamp = FIRST_NS + k * STEP_NS
        ego = (WORLD - city_SE3_ego(0.1 * k)[:3, 3]) @ city_SE3_ego(0.1 * k)[:3, :3]
        laser = np.arange(len(WORLD)) % 64
        write_sweep(log / f"sensors/lidar/{stamp}.feather", ego, laser, np.linspace(6e6, 102e6, len(WORLD)), dtype)
    stamps = FIRST_NS - 50_000_000 + np.arange(20 + sweeps * 10) * POSE_NS
    stamps = np.sort(np.concatenate([stamps, stamps[:5] + 1]))  # some a nanosecond apart, as in the recordings
    poses = [city_SE3_ego((stamp - FIRST_NS) / 1e9) for stamp in stamps.tolist()]
    turns = [
        ((np.cos(a / 2), 0, 0, np.sin(a / 2)), tuple(p[:3, 3])) for p in poses for a in [np.arctan2(p[1, 0], p[0, 0])]
    ]
    write_table(log / "city_SE3_egovehicle.feather", timestamp_ns=stamps, **pose_columns(turns))
    mounts = pose_columns(list(MOUNTS.values()))
    write_table(log / "calibration/egovehicle_SE3_sensor.feather", sensor_name=list(MOUNTS), **mounts)
    if images:
        write_images(log, images)
    return log


def write_images(log: Path, count: int) -> None:
    from PIL import Image

    folder = log / "sensors/cameras/ring_front_center"
    folder.mkdir(parents=True)
    for k in range(count):
        Image.new("RGB", (155, 205), (10, 20, 30 + k)).save(folder / f"{FIRST_NS + k * STEP_NS // 2}.jpg")
    write_table(
        log / "calibration/intrinsics.feather", sensor_name=["ring_front_center"], fx_px=[170.0], fy_px=[171.0],
        cx_px=[77.0], cy_px=[101.0], k1=[-0.2], k2=[0.1], k3=[0.0], height_px=np.array([205], np.uint16),
        width_px=np.array([155], np.uint16),
    )  # fmt: skip


def write_sample(root: Path) -> Path:
    """A log of three sweeps and four images."""
    write_log(root, images=4, dtype=np.float16)
    return root


def test_points_of_all_sweeps_and_both_lidars_are_one_world(tmp_path):
    write_log(tmp_path)
    (clip,) = open_clips(tmp_path)
    assert (clip.clip_id, clip.format, list(clip.lidars)) == ("7fab2350-7eaf", "av2", ["up_lidar", "down_lidar"])
    for lidar, chosen in zip(clip.lidars.values(), (slice(0, 32), slice(32, 64)), strict=True):
        mine = np.isin(np.arange(len(WORLD)) % 64, np.arange(64)[chosen])
        for k in range(3):
            pose = lidar.world_SE3_lidar[k, 0]
            world = lidar.read(k).points @ pose[:3, :3].T + pose[:3, 3]
            assert np.abs(world - WORLD[mine]).max() < 2e-3  # of interpolating poses on a circle, and of float32


def test_both_lidars_have_z_up_and_their_own_place(tmp_path):
    write_log(tmp_path)
    (clip,) = open_clips(tmp_path)
    up, down = clip.lidars.values()
    assert np.allclose(up.ego_SE3_lidar[:3, 3], [1.35, 0.0, 1.64])
    assert np.allclose(down.ego_SE3_lidar[:3, 3], [1.35, 0.0, 1.52])
    assert np.allclose(down.ego_SE3_lidar[:3, :3], np.eye(3), atol=1e-12)
    assert (up.sensor.name, down.sensor.name) == ("av2_up_vlp32c", "av2_down_vlp32c")
    assert np.allclose(down.sensor.row_elevations_rad, -up.sensor.row_elevations_rad[::-1])


def test_times_count_from_the_start_of_the_sweep(tmp_path):
    write_log(tmp_path)
    (clip,) = open_clips(tmp_path)
    up = clip.lidars["up_lidar"]
    assert up.timestamps_us[:, 0].tolist() == [FIRST_NS // 1000 + k * 100_000 + 2654 for k in range(3)]
    sweep = up.read(1)
    assert sweep.time_us[0] == 6000 - 2654
    assert sweep.ring.tolist()[:33] == [*range(32), 0]
    assert sweep.intensity.tolist()[:2] == [0.0, 1.0]


def test_an_object_is_in_the_image_where_the_lidar_sees_it(tmp_path):
    log = write_log(tmp_path, images=4)
    for k in range(3):
        ego = (OBJECT - city_SE3_ego(0.1 * k)[:3, 3]) @ city_SE3_ego(0.1 * k)[:3, :3]
        stamp = FIRST_NS + k * STEP_NS
        write_sweep(
            log / f"sensors/lidar/{stamp}.feather", np.stack([ego, ego]), np.array([3, 40]), np.array([6e6, 7e6])
        )
    (clip,) = open_clips(log)
    camera = clip.cameras["ring_front_center"]
    assert camera.timestamps_us.tolist() == [FIRST_NS // 1000 + k * 50_000 for k in range(4)]
    assert camera.read(2)[0, 0, 2] in range(28, 37)
    for image in range(4):  # by hand: vehicle, camera at x 1.63 and z 1.4, looking forward
        forward, left, up = (OBJECT - city_SE3_ego(0.05 * image)[:3, 3]) @ city_SE3_ego(0.05 * image)[:3, :3]
        wanted = 77 - 170 * left / (forward - 1.63), 101 - 171 * (up - 1.4) / (forward - 1.63)
        for lidar in clip.lidars.values():
            point = lidar.world_SE3_lidar[1, 0] @ [*lidar.read(1).points[0], 1.0]
            uv, depth = camera.model.project((np.linalg.inv(camera.world_SE3_camera[image]) @ point)[None, :3])
            assert np.allclose(uv[0], wanted, atol=0.05)
            assert depth[0] == pytest.approx(forward - 1.63, abs=2e-3)
    assert np.allclose(camera.lidar_SE3_camera[:3, 3], [0.28, 0.0, -0.24])


@pytest.mark.parametrize("below", ["", "val", "val/7fab2350-7eaf", "val/7fab2350-7eaf/sensors/lidar"])
def test_every_folder_of_the_dataset_is_recognized(tmp_path, below):
    write_log(tmp_path)
    assert av2.recognise(tmp_path / below) == Strength.EXACT
    assert [clip.clip_id for clip in open_clips(tmp_path / below)] == ["7fab2350-7eaf"]


def test_another_sensor_is_that_of_the_upper_lidar(tmp_path):
    write_log(tmp_path)
    sensor = uniform_sensor(8, 64)
    (clip,) = open_clips(tmp_path, sensor=sensor)
    assert [lidar.sensor.name for lidar in clip.lidars.values()] == ["uniform", "av2_down_vlp32c"]


def test_a_broken_log_is_left_out_where_the_caller_wants_that(tmp_path):
    write_log(tmp_path)
    (tmp_path / "val/other/sensors/lidar").mkdir(parents=True)
    (tmp_path / "val/other/sensors/lidar/1.feather").write_bytes(b"")
    errors: list[DataError] = []
    assert len(open_clips(tmp_path, on_error=errors.append)) == 1
    assert "egovehicle_SE3_sensor.feather, clip other" in str(errors[0])
    with pytest.raises(DataError, match="clip other"):
        open_clips(tmp_path)


def test_real_log(test_data):
    (clip,) = open_clips(test_data / "av2")
    assert clip.clip_id == "7fab2350-7eaf-3b7e-a39d-6937a4c1bede"
    up, down = clip.lidars.values()
    assert [len(lidar.read(0).points) + len(down.read(0).points) for lidar in (up,)] == [99_229]
    for lidar in (up, down):
        filled = np.count_nonzero(lidar.range_map(0))
        assert filled > 0.97 * len(lidar.read(0).points)  # hardly two points in one pixel
        assert filled > 0.78 * lidar.range_map(0).size


def test_real_lasers_are_rings_of_the_sensor(test_data):
    """In the axes and place of its own lidar, and only there, every laser has one of the elevations of the VLP-32C."""
    (clip,) = open_clips(test_data / "av2")
    for lidar in clip.lidars.values():
        sweep = lidar.read(1)
        far = np.linalg.norm(sweep.points, axis=1) > 8
        elevation = np.arcsin(sweep.points[:, 2] / np.linalg.norm(sweep.points, axis=1))
        medians = [np.median(elevation[far & (sweep.ring == ring)]) for ring in np.unique(sweep.ring[far])]
        table = lidar.sensor.row_elevations_rad
        found = [np.abs(table - one).min() for one in medians]
        assert np.degrees(np.median(found)) < 0.01
        assert len({int(np.abs(table - one).argmin()) for one in medians}) == len(medians)


def test_real_points_refer_to_the_moment_in_the_name(test_data):
    """Seen from where the lidar was at the time of each point, azimuth is a straight line in time; not as stored."""
    (clip,) = open_clips(test_data / "av2")
    lidar = clip.lidars["up_lidar"]
    sweep = lidar.read(1)
    time_us, points = sweep.time_us, sweep.points.astype(np.float64)
    start, end = lidar.world_SE3_lidar[1]
    near = np.hypot(points[:, 0], points[:, 1]) < 12

    def unevenness_deg(seen: np.ndarray) -> float:
        azimuth = np.arctan2(seen[:, 1], seen[:, 0]) + 2 * np.pi * time_us / 99_994.0
        found = []
        for ring in range(32):
            chosen = azimuth[near & (sweep.ring == ring)]
            if len(chosen) > 100:
                found.append(np.abs(np.angle(np.exp(1j * chosen) / np.exp(1j * chosen).mean())))
        return float(np.degrees(np.median(np.concatenate(found))))

    from cosmos_lidar.sensors import decompensate_motion

    fraction = time_us / float(np.diff(lidar.timestamps_us[1])[0])
    seen = np.asarray(decompensate_motion(points, lidar.sensor, np.linalg.inv(end) @ start, fraction))
    assert unevenness_deg(seen) < 0.12
    assert unevenness_deg(points) > 2 * unevenness_deg(seen)
