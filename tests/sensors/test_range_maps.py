"""Points and range maps against published numbers, and against the straightforward way of computing them."""

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import (
    Sensor,
    load_sensor,
    points_to_range_map,
    project_points,
    range_map_to_points,
    ray_directions,
    sensor_names,
    uniform_sensor,
)

PIXELS = {  # point -> (row, column) of the published projection
    (10, 0, 0): (41, 1800),
    (0, 10, 0): (41, 900),
    (-10, 0.001, 0): (41, 0),
    (-10, -0.001, 0): (41, 3599),
    (20, 5, -1.5): (74, 1659),
    (-30, 12, 2): (22, 218),
    (3, -4, -2): (121, 2331),
}


def random_points(count, seed=0, low_deg=-35, high_deg=20, far_m=110):
    rng = np.random.default_rng(seed)
    azimuth = rng.uniform(-np.pi, np.pi, count)
    elevation = np.radians(rng.uniform(low_deg, high_deg, count))
    flat = np.cos(elevation)
    rays = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)], axis=1)
    return (rays * rng.uniform(0.5, far_m, (count, 1))).astype(np.float32)


def straightforward(points, sensor):
    """Argmin over all beams for each point, then the smallest range per pixel; nothing clever."""
    p = points.astype(np.float64)
    distance = np.sqrt((p**2).sum(1))
    elevation = np.arcsin(p[:, 2] / distance)
    row = np.concatenate(
        [np.abs(part[:, None] - sensor.row_elevations_rad).argmin(1) for part in np.array_split(elevation, 20)]
    )
    turned = sensor.first_azimuth_rad - np.arctan2(p[:, 1], p[:, 0]) + sensor.row_azimuth_offsets_rad[row]
    column = np.floor(turned / (2 * np.pi) * sensor.columns).astype(int) % sensor.columns
    low = sensor.row_elevations_rad[-1] - sensor.elevation_slack_rad
    high = sensor.row_elevations_rad[0] + sensor.elevation_slack_rad
    kept = (distance < sensor.max_range_m) & (elevation >= low) & (elevation <= high)
    nearest = np.full(sensor.shape, np.inf, np.float32)
    np.minimum.at(nearest, (row[kept], column[kept]), distance[kept].astype(np.float32))
    return np.where(np.isinf(nearest), 0, nearest), int((~kept).sum())


@pytest.mark.parametrize(("point", "pixel"), PIXELS.items())
def test_published_projection(point, pixel):
    range_m = points_to_range_map(np.array([point], np.float32), load_sensor("pandar128"))
    assert [tuple(p) for p in np.argwhere(range_m > 0)] == [pixel]


def test_published_directions():
    sensor = load_sensor("pandar128")
    rays = ray_directions(sensor, 1800, ray_at="edge")
    expected = {
        (0, 0): (-0.96842671, 1.186e-16, 0.24929842),
        (0, 900): (0.96842671, 0, 0.24929842),
        (64, 450): (6.1e-17, 0.99870519, -0.05087183),
        (127, 1799): (-0.90618421, -0.00316319, -0.42287133),
    }
    for pixel, ray in expected.items():
        np.testing.assert_allclose(rays[pixel], ray, atol=6e-9)
    np.testing.assert_allclose(rays.sum((0, 1)), (0, 0, -16149.307562), atol=1e-6)
    assert np.abs(rays).sum() == pytest.approx(319055.834855, rel=1e-9)
    np.testing.assert_allclose(
        ray_directions(sensor, ray_at="edge")[61, 1801], (0.99901987, -0.00174362, -0.04422966), atol=6e-9
    )


def test_cropped_map_as_published_and_corrected():
    sensor = load_sensor("pandar128")
    range_m = np.zeros((128, 1792), np.float32)
    range_m[10, 5], range_m[64, 896], range_m[120, 1791] = 12.5, 33.25, 6.75
    published = range_map_to_points(range_m, sensor, ray_at="edge")
    expected = [
        [-12.33182091, 0.21621388, 2.03210351],
        [33.20694757, 0, -1.69148845],
        [-6.28549041, -0.02203854, -2.46061469],
    ]
    np.testing.assert_allclose(published, expected, atol=2e-6)
    corrected = range_map_to_points(range_m, sensor, ray_at="edge", first_column=4, full_columns=1800)
    full = np.zeros((128, 1800), np.float32)
    full[:, 4:1796] = range_m
    np.testing.assert_array_equal(corrected, range_map_to_points(full, sensor, ray_at="edge"))


@pytest.mark.parametrize("name", sensor_names())
def test_identical_to_the_straightforward_way(name):
    sensor = load_sensor(name)
    points = random_points(100_000)
    expected, dropped = straightforward(points, sensor)
    projection = project_points(points, sensor)
    np.testing.assert_array_equal(projection.range_m, expected)
    assert projection.n_dropped == dropped
    filled = projection.point_index >= 0
    np.testing.assert_array_equal(filled, expected > 0)
    np.testing.assert_allclose(
        np.linalg.norm(points[projection.point_index[filled]], axis=1), expected[filled], rtol=1e-6
    )


@pytest.mark.parametrize("name", sensor_names())
def test_identical_where_every_point_is_inside_and_several_share_a_pixel(name):
    sensor = load_sensor(name)
    rng = np.random.default_rng(5)
    count = 1 + 150_000 // (sensor.rows * sensor.columns)  # more points than are worked on at once
    maps = rng.uniform(1, 0.99 * sensor.max_range_m, (count, *sensor.shape)).astype(np.float32)
    points = np.concatenate(range_map_to_points(maps, sensor))
    expected, dropped = straightforward(points, sensor)
    projection = project_points(points, sensor)
    assert projection.n_dropped == dropped == 0
    np.testing.assert_array_equal(projection.range_m, expected)
    assert ((projection.point_index >= 0) == (expected > 0)).all()


@pytest.mark.parametrize("name", sensor_names())
def test_round_trip_is_within_half_a_bin(name):
    sensor = load_sensor(name)
    points = random_points(20_000, seed=1)
    projection = project_points(points, sensor)
    back = range_map_to_points(projection.range_m, sensor)
    origin = points[projection.point_index[projection.point_index >= 0]].astype(np.float64)
    distance = np.linalg.norm(origin, axis=1)
    np.testing.assert_allclose(np.linalg.norm(back, axis=1), distance, rtol=1e-6)
    turn = np.arctan2(back[:, 1], back[:, 0]) - np.arctan2(origin[:, 1], origin[:, 0])
    turn = np.abs((turn + np.pi) % (2 * np.pi) - np.pi)
    assert turn.max() <= np.pi / sensor.columns + 1e-6
    rise = np.abs(np.arcsin(back[:, 2] / distance) - np.arcsin(origin[:, 2] / distance))
    gaps = -np.diff(sensor.row_elevations_rad)
    half = np.maximum(np.pad(gaps, (1, 0)), np.pad(gaps, (0, 1))) / 2
    half[[0, -1]] = np.maximum(half[[0, -1]], sensor.elevation_slack_rad)
    assert (rise <= half[np.nonzero(projection.range_m)[0]] + 1e-6).all()


@pytest.mark.parametrize("name", ["pandar128", "pandar128_row_offset"])
def test_every_pixel_comes_back_to_itself(name):
    sensor = load_sensor(name)
    range_m = np.random.default_rng(3).uniform(1, 100, sensor.shape).astype(np.float32)
    back = points_to_range_map(range_map_to_points(range_m, sensor), sensor)
    np.testing.assert_allclose(back, range_m, rtol=1e-6)


def test_torch_and_batches_equal_numpy_one_by_one():
    sensor = uniform_sensor(16, 64)
    clouds = np.stack([random_points(500, seed) for seed in range(3)])
    single = np.stack([points_to_range_map(cloud, sensor) for cloud in clouds])
    np.testing.assert_array_equal(points_to_range_map(clouds, sensor), single)
    batch = points_to_range_map(torch.from_numpy(clouds), sensor)
    assert isinstance(batch, torch.Tensor)
    np.testing.assert_array_equal(batch.numpy(), single)
    ragged = points_to_range_map([clouds[0][:7], clouds[1][:0]], sensor)
    assert ragged.shape == (2, 16, 64)
    assert not ragged[1].any()
    for one, cloud in zip(range_map_to_points(batch, sensor), single, strict=True):
        np.testing.assert_allclose(one.numpy(), range_map_to_points(cloud, sensor), rtol=1e-6)


def test_empty_one_point_and_unusable_points():
    sensor = uniform_sensor(16, 64)
    empty = project_points(np.zeros((0, 3), np.float32), sensor)
    assert not empty.range_m.any()
    assert range_map_to_points(empty.range_m, sensor).shape == (0, 3)
    one = project_points(np.array([[5, 0, 0]], np.float32), sensor)
    assert (one.range_m > 0).sum() == 1
    odd = np.array([[np.nan, 0, 0], [np.inf, 0, 0], [0, 0, 0], [0, 0, 9], [500, 0, 0], [5, 0, 0]], np.float32)
    projection = project_points(odd, sensor)
    assert projection.n_dropped == 5
    assert projection.point_index.max() == 5


def test_nearest_wins_and_the_first_of_equals():
    sensor = uniform_sensor(16, 64)
    projection = project_points(np.array([[9, 0, 0], [4, 0, 0], [4, 0, 0], [7, 0, 0]], np.float32), sensor)
    assert projection.point_index.max() == 1
    assert projection.range_m.max() == 4


@pytest.mark.parametrize("points", [np.zeros(3, np.float32), np.zeros((4, 2), np.float32), np.zeros((4, 3), int), "x"])
def test_wrong_points_say_what_is_wanted(points):
    with pytest.raises(DataError, match=r"floating-point array \(N, 3 or more\)"):
        project_points(points, uniform_sensor(4, 8))


def test_wrong_maps_say_what_is_wanted():
    sensor = uniform_sensor(4, 8)
    with pytest.raises(DataError, match=r"shape \(5, 8\).*4 rows"):
        range_map_to_points(np.zeros((5, 8), np.float32), sensor)
    with pytest.raises(DataError, match="NaN"):
        range_map_to_points(np.full((4, 8), np.nan, np.float32), sensor)
    with pytest.raises(DataError, match="centre, edge"):
        ray_directions(sensor, ray_at="left")


def facing_sensors():
    """Lidars that see part of a circle: two directions of rotation, beams with and without azimuth offsets."""
    elevations = np.radians(np.linspace(10, -15, 16))
    for clockwise in (True, False):
        for offset_deg in (0.0, 3.0):
            offsets = np.radians(offset_deg) * np.sin(np.arange(16.0))
            first, end = (np.radians(60), np.radians(-61)) if clockwise else (np.radians(-60), np.radians(61))
            yield Sensor("front", elevations, offsets, 605, first, clockwise, end_azimuth_rad=end)


@pytest.mark.parametrize("sensor", facing_sensors())
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
@pytest.mark.parametrize("ray_at", ["centre", "edge"])
def test_round_trip_of_part_of_a_circle(sensor, kind, ray_at):
    range_m = np.random.default_rng(1).uniform(3, 90, sensor.shape).astype(np.float32)
    range_m[range_m < 20] = 0
    points = range_map_to_points(kind(range_m), sensor, ray_at)
    assert isinstance(points, type(kind(range_m)))
    if ray_at == "edge":  # rounding may put a point on either side of an edge between columns, and drops none
        assert project_points(points, sensor).n_dropped == 0
        return
    found = project_points(points, sensor)
    assert found.n_dropped == 0
    assert np.allclose(found.range_m, range_m, rtol=1e-6)
    batch = points_to_range_map([points, points[:100]], sensor)
    assert np.array_equal(batch[0], found.range_m)
    assert int((batch[1] > 0).sum()) == 100


@pytest.mark.parametrize("sensor", facing_sensors())
def test_points_beside_the_field_of_view_are_dropped_and_counted(sensor):
    way = -1 if sensor.clockwise else 1
    step = sensor.field_of_view_rad / sensor.columns
    columns = np.array([-300.0, -0.5, -0.01, 0.01, 0.5, 300.2, 604.99, 605.01, 605.5, 900.0])
    for row in (0, 7, 15):
        azimuth = sensor.first_azimuth_rad + sensor.row_azimuth_offsets_rad[row] + way * columns * step
        elevation = sensor.row_elevations_rad[row]
        flat = np.cos(elevation)
        rays = np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.full(10, np.sin(elevation))], 1)
        found = project_points(rays * np.arange(10, 20)[:, None], sensor)
        assert found.n_dropped == 6
        assert [tuple(pixel) for pixel in np.argwhere(found.range_m)] == [(row, 0), (row, 300), (row, 604)]
        assert list(found.point_index[row, [0, 300, 604]]) == [3, 5, 6]


@pytest.mark.parametrize("name", ["pandar128_row_offset", "kitti_hdl64e"])
def test_part_of_a_circle_sees_what_the_whole_sees_there(name):
    whole = load_sensor(name)
    part = whole.between_columns(700, 1500)
    points = random_points(200_000)
    assert np.array_equal(points_to_range_map(points, part), points_to_range_map(points, whole)[:, 700:1500])
    seen = project_points(points, whole).point_index[:, 700:1500]
    assert np.array_equal(project_points(points, part).point_index, seen)
    rays = ray_directions(whole, whole.columns // 2)[:, 350:750]
    assert np.allclose(ray_directions(part, part.columns // 2), rays, atol=1e-12)
