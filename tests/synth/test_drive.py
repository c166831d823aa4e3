"""Whole drives: the same every time, one world seen from many places, by lidar and cameras alike."""

import pickle
import uuid
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import cKDTree

from cosmos_lidar.clips.sweep import sweep_problems
from cosmos_lidar.errors import UserError
from cosmos_lidar.sensors import compensate_motion, uniform_sensor
from cosmos_lidar.synth import Noise, RigLidar, bumper_lidar, ftheta_rig, pinhole_rig, synthesize_drive
from cosmos_lidar.synth.drive import VEHICLE_SE3_LIDAR
from cosmos_lidar.synth.labels import ROAD_USERS
from tests.synth.street import world_points

SENSOR = uniform_sensor(64, 720, 8, -24)


def test_same_seed_same_bits():
    cameras = pinhole_rig(("front",), 96, 54)
    a, b = (synthesize_drive(3, SENSOR, 2, cameras=cameras) for _ in range(2))
    for index in (1, 0):
        for name in ("range_m", "intensity", "labels"):
            assert np.array_equal(getattr(a.read_sweep(index), name), getattr(b.read_sweep(index), name))
    assert np.array_equal(a.cameras["camera_front"].read(1), b.cameras["camera_front"].read(1))
    assert np.array_equal(a.world_SE3_lidar, b.world_SE3_lidar)
    assert a.clip_id == b.clip_id
    other = synthesize_drive(4, SENSOR, 2)
    assert other.clip_id != a.clip_id
    assert not np.array_equal(other.read_sweep(0).range_m, a.read_sweep(0).range_m)


def test_sweeps_survive_the_trip_to_another_process(exact):
    copy = pickle.loads(pickle.dumps(exact))
    assert np.array_equal(copy.read_sweep(2).range_m, exact.read_sweep(2).range_m)


def test_clip_is_consistent(exact):
    assert len(exact) == 8
    assert exact.frame_ids[:2] == ("000000", "000001")
    assert np.array_equal(exact.timestamps_us[:-1, 1], exact.timestamps_us[1:, 0])
    assert (np.diff(exact.timestamps_us, axis=1) == 100_000).all()
    assert np.array_equal(exact.world_SE3_lidar[:-1, 1], exact.world_SE3_lidar[1:, 0])
    turns = exact.world_SE3_lidar[:, 0, :3, :3]
    assert np.abs(turns @ turns.transpose(0, 2, 1) - np.eye(3)).max() < 1e-12
    speed = np.linalg.norm(np.diff(exact.world_SE3_lidar[:, :, :3, 3], axis=1), axis=2) / 0.1
    assert 5 < speed.min() < speed.max() < 17
    assert str(exact.clip_id).count("_") == 2
    assert "." not in exact.clip_id


def test_ground_points_of_every_frame_lie_on_the_ground(exact):
    terrain = exact.read_sweep.__self__.scene.terrain
    for index in (0, 4, 7):
        points, labels = world_points(exact, index)
        ground = np.isin(labels, (40, 60, 48, 72))
        off = np.abs(points[ground, 2] - terrain.height(points[ground, 0], points[ground, 1]))
        kerb = np.abs(terrain.beyond_kerb(points[ground, 0], points[ground, 1])) < 0.01
        assert off[~kerb].max() < 4e-3
        on_road = terrain.beyond_kerb(points[:, 0], points[:, 1]) < 0.01
        assert on_road[np.isin(labels, (40, 60))].all()


def test_still_things_stay_where_they_are(exact):
    first, first_labels = world_points(exact, 0)
    later, later_labels = world_points(exact, 7)
    tree = cKDTree(first[first_labels == 50])
    start = exact.world_SE3_lidar[:, 0, :3, 3]
    near = (np.linalg.norm(later - start[7], axis=1) < 18) & (later_labels == 50)
    assert near.sum() > 500
    gap = tree.query(later[near])[0]
    moved = tree.query(later[near] + [0, 1.0, 0])[0]
    assert np.median(gap) < 0.12
    assert np.median(moved) > 3 * np.median(gap)


def test_noise_drop_and_intensity(exact):
    noisy = synthesize_drive(11, SENSOR, 8)
    a, b = exact.read_sweep(3), noisy.read_sweep(3)
    both = (a.range_m > 0) & (b.range_m > 0)
    assert ((b.range_m > 0) <= (a.range_m > 0)).all()
    road = both & (a.labels == 40) & (a.range_m < 20)
    assert np.std(b.range_m[road] - a.range_m[road]) == pytest.approx(0.015 * 1.08, rel=0.15)
    leaves = both & (a.labels == 70)
    assert 0.15 < np.mean(b.range_m[leaves] - a.range_m[leaves]) < 0.6
    lost = (a.range_m > 0) & (b.range_m == 0)
    assert lost[(a.labels == 40) & (a.range_m < 15)].mean() < 0.05
    assert lost[(a.labels == 40) & (a.range_m > 50)].mean() > 0.15
    walls = (a.labels == 50) & (a.range_m < 30)
    glass = walls & (a.intensity < 0.1201) & (a.intensity > 0.08)
    assert lost[glass].mean() > 0.4 > 0.1 > lost[walls & (a.intensity > 0.2)].mean()
    assert 0 < b.intensity[b.range_m > 0].min() <= b.intensity.max() <= 1
    assert not b.intensity[b.range_m == 0].any()
    quiet = synthesize_drive(11, SENSOR, 8, noise=Noise(range_m=0.0, drop=0.0, weakest=0.0)).read_sweep(3)
    solid = np.isin(a.labels, (40, 48, 60, 80, 252)) & (quiet.range_m > 0)
    assert np.array_equal(quiet.range_m[solid], a.range_m[solid])


def test_images_are_taken_at_the_start_of_sweeps():
    clip = synthesize_drive(1, SENSOR, 3, cameras=ftheta_rig(("left", "right"), 128), images_per_sweep=3)
    assert clip.frame_ids == ("000000", "000003", "000006")
    assert list(clip.cameras) == ["camera_rear_left_70fov", "camera_rear_right_70fov"]
    for stream in clip.cameras.values():
        assert len(stream) == 9
        assert np.array_equal(stream.timestamps_us[::3], clip.timestamps_us[:, 0])
        assert stream.world_SE3_camera.shape == (9, 4, 4)
        assert stream.read(4).shape == (72, 128, 3)
    left, right = (s.world_SE3_camera[0] for s in clip.cameras.values())
    lidar = np.linalg.inv(clip.world_SE3_lidar[0, 0])
    assert (lidar @ left)[1, 2] > 0.3 > -0.3 > (lidar @ right)[1, 2]
    assert (lidar @ left)[0, 2] < -0.5
    assert (lidar @ left)[2, 1] < -0.99


@pytest.mark.parametrize("wrong", [{"frames": 0}, {"seed": -1}, {"images_per_sweep": 0}])
def test_wrong_arguments(wrong):
    arguments = {"seed": 0, "sensor": SENSOR, "frames": 1, **wrong}
    with pytest.raises(UserError, match="must be at least 1"):
        synthesize_drive(**arguments)


def test_every_return_has_its_time_ring_and_class(exact):
    sweep = exact.read_sweep(3)
    assert sweep_problems(sweep, SENSOR) == []
    assert sweep.held == ("range_m", "intensity", "labels", "instance", "time_us", "ring")
    start, end = exact.timestamps_us[3]
    columns = (np.arange(SENSOR.columns) + 0.5) / SENSOR.columns * (end - start)
    assert np.abs(sweep.time_us - columns).max() <= 0.5
    assert np.array_equal(sweep.ring, np.nonzero(np.ones(SENSOR.shape))[0].reshape(SENSOR.shape))


def test_the_time_of_a_return_says_where_the_lidar_was(exact):
    """Points moved by their own times are where points moved by their columns are."""
    cloud, (start, end) = exact.lidar.cloud(5), exact.world_SE3_lidar[5]
    fraction = cloud.time_us / 100_000
    moved = compensate_motion(cloud.points.astype(np.float64), SENSOR, np.linalg.inv(end) @ start, fraction)
    in_world = moved @ start[:3, :3].T + start[:3, 3]
    assert np.abs(in_world - world_points(exact, 5)[0]).max() < 1e-3


def test_road_users_keep_their_numbers(exact):
    """A number is one thing of one class; what is parked stays where it is, and nothing else has a number."""
    first, last = (exact.lidar.cloud(index) for index in (0, 7))
    for cloud in (first, last):
        assert np.array_equal(cloud.instance > 0, np.isin(cloud.labels, ROAD_USERS))
    pairs = {tuple(pair) for cloud in (first, last) for pair in np.stack([cloud.instance, cloud.labels], 1).tolist()}
    numbers = [number for number, _ in pairs if number]
    assert len(numbers) == len(set(numbers)) > 5
    places = [world_points(exact, index)[0] for index in (0, 7)]
    parked = [n for n, label in pairs if label == 10 and (first.instance == n).sum() > 50 < (last.instance == n).sum()]
    assert parked
    for number in parked:
        seen = zip(places, (first, last), strict=True)
        centers = [np.median(points[cloud.instance == number], axis=0) for points, cloud in seen]
        assert np.linalg.norm(centers[1] - centers[0]) < 2.5


def test_two_lidars_see_one_world():
    turned = bumper_lidar(uniform_sensor(32, 360, 10, -30))
    pose = turned.vehicle_SE3_lidar.copy()
    pose[:2, :2] = [[0, -1], [1, 0]]
    fast = replace(turned.sensor, spin_hz=20.0)
    clip = synthesize_drive(11, SENSOR, 4, noise=None, lidars=[RigLidar("bumper", fast, pose)])
    roof, bumper = clip.lidar, clip.lidars["bumper"]
    assert (list(clip.lidars), len(roof), len(bumper)) == (["lidar", "bumper"], 4, 8)
    assert [one.rate_hz for one in (roof, bumper)] == [10.0, 20.0]
    assert roof.timestamps_us[-1, 1] == bumper.timestamps_us[-1, 1]
    relative = np.linalg.inv(roof.world_SE3_lidar[2, 0]) @ bumper.world_SE3_lidar[4, 0]
    assert np.allclose(relative, np.linalg.inv(roof.ego_SE3_lidar) @ bumper.ego_SE3_lidar)
    assert clip.clip_id == synthesize_drive(11, SENSOR, 4, noise=None).clip_id
    assert np.array_equal(roof.read(1).range_m, synthesize_drive(11, SENSOR, 4, noise=None).read_sweep(1).range_m)
    still = [_still_points(one, index) for one, index in ((clip, 2), (clip.choose_lidar("bumper"), 4))]
    near = cKDTree(still[0]).query(still[1])[0]
    assert np.median(near) < 0.25


def _still_points(clip, index):
    points, labels = world_points(clip, index)
    return points[labels == 50]  # houses


def test_the_noise_of_two_lidars_differs():
    other = RigLidar("twin", SENSOR, VEHICLE_SE3_LIDAR)
    clip = synthesize_drive(11, SENSOR, 1, lidars=[other])
    one, two = (lidar.read(0).range_m for lidar in clip.lidars.values())
    assert 0 < np.abs(one - two)[(one > 0) & (two > 0)].mean() < 0.1


def test_published_loaders_keep_the_ids_of_drives_whole():
    sensor = uniform_sensor(4, 8)
    ids = [synthesize_drive(seed, sensor, 1).clip_id for seed in range(64)]
    characters = ".lidar_row.npz"  # they strip a set of characters, not a suffix
    for clip_id in ids:
        assert f"{clip_id}.lidar_row.npz".strip(characters) == clip_id
    assert len(set(ids)) == len(ids)
    assert uuid.UUID(ids[0].partition("_")[0]).version == 4
