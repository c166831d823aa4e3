"""NCore structured lidar models to sensors and back: directions by the model's own formula, three published models."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import load_sensor, model_of_sensor, ray_directions, sensor_of_model, uniform_sensor
from cosmos_lidar.sensors.structured_model import column_deviation_rad

# Largest angle between directions: the tables are float32, that of the Pandar128 has steps of 0.01 degrees.
PUBLISHED = {"ncore_waymo_top": 1e-6, "ncore_pandar64_pandaset": 1e-6, "ncore_pandar128": 2.7e-4}


def directions(model: dict) -> np.ndarray:
    """Return (rows, columns, 3) unit vectors of a model, by the formula of its documentation."""
    elevation = np.array(model["row_elevations_rad"])[:, None]
    azimuth = np.array(model["column_azimuths_rad"])[None] + np.array(model["row_azimuth_offsets_rad"])[:, None]
    x, y = np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth)
    return np.stack([x, y, np.broadcast_to(np.sin(elevation), x.shape)], -1)


def largest_angle(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest angle between unit vectors, radians, exact for small ones too."""
    return float(2 * np.arcsin(np.linalg.norm(one - other, axis=-1) / 2).max())


def small_model(direction: str = "ccw", rows: int = 3, columns: int = 12) -> dict:
    turn = {"cw": -1, "ccw": 1}[direction] * 2 * math.pi / columns
    return {
        "spinning_frequency_hz": 20.0,
        "spinning_direction": direction,
        "n_rows": rows,
        "n_columns": columns,
        "row_elevations_rad": np.linspace(0.2, -0.3, rows).tolist(),
        "column_azimuths_rad": [0.7 + turn * column for column in range(columns)],
        "row_azimuth_offsets_rad": np.linspace(-0.02, 0.05, rows).tolist(),
    }


@pytest.mark.parametrize("name", PUBLISHED)
def test_directions_of_published_models_stay_in_both_ways(test_data, name):
    path = test_data / "sensor_models" / f"{name}.json"
    model, sensor = json.loads(path.read_text()), load_sensor(path)
    assert sensor.name == name
    assert sensor.shape == (model["n_rows"], model["n_columns"])
    assert largest_angle(ray_directions(sensor), directions(model)) <= PUBLISHED[name]
    assert largest_angle(ray_directions(sensor), directions(model_of_sensor(sensor))) <= 1e-9
    again = sensor_of_model(json.loads(json.dumps(model_of_sensor(sensor))), name)
    assert largest_angle(ray_directions(again), ray_directions(sensor)) <= 1e-9
    assert column_deviation_rad(model) == pytest.approx(PUBLISHED[name], rel=0.7)
    assert (sensor.clockwise, sensor.spin_hz) == (True, 10.0)


def test_waymo_top_is_the_shipped_sensor_turned_to_its_mounting(test_data):
    shipped, published = load_sensor("waymo_top"), load_sensor(test_data / "sensor_models" / "ncore_waymo_top.json")
    assert published.shape == shipped.shape
    turn = published.first_azimuth_rad - shipped.first_azimuth_rad  # -148 degrees, the yaw of the lidar on its vehicle
    assert math.degrees(turn) == pytest.approx(-148.0, abs=0.1)
    cos, sin = math.cos(turn), math.sin(turn)
    turned = ray_directions(shipped) @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]).T
    assert largest_angle(turned, ray_directions(published)) <= 1e-4  # two units: elevations differ by 0.0055 degrees


def test_pandar128_has_the_beams_of_the_shipped_sensor(test_data):
    shipped = load_sensor("pandar128_row_offset")
    published = load_sensor(test_data / "sensor_models" / "ncore_pandar128.json")
    assert published.row_elevations_rad == pytest.approx(shipped.row_elevations_rad, abs=1e-8)
    assert published.row_azimuth_offsets_rad == pytest.approx(shipped.row_azimuth_offsets_rad, abs=2e-8)
    assert published.format == shipped.format


def test_ncore_gives_the_same_rays(test_data):
    lidar = pytest.importorskip("ncore.impl.sensors.lidar", reason="extra ncore is not installed")
    torch, types = pytest.importorskip("torch"), pytest.importorskip("ncore.data")
    path = test_data / "sensor_models" / "ncore_waymo_top.json"
    parameters = types.RowOffsetStructuredSpinningLidarModelParameters.from_dict(json.loads(path.read_text()))
    model = lidar.RowOffsetStructuredSpinningLidarModel(parameters, device="cpu", dtype=torch.float64)
    rows, columns = (grid.ravel() for grid in np.meshgrid(range(64), range(0, 2650, 53), indexing="ij"))
    rays = model.elements_to_sensor_rays(np.stack([rows, columns], -1)).numpy()
    assert largest_angle(rays, ray_directions(load_sensor(path))[rows, columns]) <= 1e-6


@pytest.mark.parametrize("direction", ["cw", "ccw"])
def test_both_directions_and_azimuths_modulo_a_turn(direction):
    model = small_model(direction)
    sensor = sensor_of_model(model, "small")
    assert largest_angle(ray_directions(sensor), directions(model)) <= 1e-12
    model["column_azimuths_rad"] = [math.remainder(angle, 2 * math.pi) for angle in model["column_azimuths_rad"]]
    assert sensor_of_model(model, "small").first_azimuth_rad == pytest.approx(sensor.first_azimuth_rad)
    assert (sensor.clockwise, sensor.spin_hz, sensor.format.repeat_rows) == (direction == "cw", 20.0, 170)


def test_any_sensor_becomes_a_model():
    for sensor in (load_sensor("kitti_hdl64e"), load_sensor("pandar128_row_offset"), uniform_sensor(4, 8)):
        model = model_of_sensor(sensor)
        assert largest_angle(directions(model), ray_directions(sensor)) <= 1e-9
        assert len(model["column_azimuths_rad"]) == model["n_columns"]


def test_typed_models_name_their_type():
    typed = {"lidar_model_type": "row-offset-spinning", "lidar_model_parameters": small_model()}
    assert sensor_of_model(typed, "typed").shape == (3, 12)
    with pytest.raises(DataError, match=r"solid-state.*key lidar_model_type.*row-offset-spinning"):
        sensor_of_model({**typed, "lidar_model_type": "solid-state"}, "typed")


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("spinning_direction", "left", "left"),
        ("spinning_frequency_hz", "10", "'10'"),
        ("spinning_frequency_hz", float("nan"), "nan"),
        ("n_rows", 3.5, "3.5"),
        ("n_columns", 13, "12 values"),
        ("n_columns", 10**12, "1000000000000"),
        ("row_elevations_rad", [0.1, 0.2, 0.3], "not descending"),
        ("row_elevations_rad", [2.0, 0.2, 0.1], "not descending"),
        ("row_elevations_rad", [0.3, None, 0.1], "not numbers"),
        ("row_azimuth_offsets_rad", [0.0, 0.0], "2 values"),
        ("row_azimuth_offsets_rad", {"0": 1}, "a dict"),
        ("row_azimuth_offsets_rad", [0, 0, 10**400], "not numbers"),
        ("column_azimuths_rad", [float("inf")] * 12, "not angles"),
        ("column_azimuths_rad", [0.01 * column**2 for column in range(12)], "even spacing"),
        ("column_azimuths_rad", small_model("cw")["column_azimuths_rad"], "even spacing"),
    ],
)
def test_broken_models_name_the_key(tmp_path, key, value, found):
    path = tmp_path / "lidar.json"
    path.write_text(json.dumps({**small_model(), key: value}))
    with pytest.raises(DataError) as caught:
        load_sensor(path)
    assert caught.value.key == {"12 values": "column_azimuths_rad"}.get(found, key)
    assert found in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "[" * 100000, '{"n_rows": 3}'])
def test_files_that_are_no_model_are_refused(tmp_path, text):
    path = tmp_path / "lidar.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"lidar\.json"):
        load_sensor(path)


@pytest.mark.parametrize("clockwise", [True, False])
def test_a_lidar_that_faces_one_side(clockwise):
    front = replace(uniform_sensor(4, 360), clockwise=clockwise).between_columns(100, 220)
    model = model_of_sensor(front)
    assert (model["n_columns"], len(model["column_azimuths_rad"])) == (120, 120)
    again = sensor_of_model(model, "front")
    assert math.degrees(again.field_of_view_rad) == pytest.approx(120)
    assert largest_angle(ray_directions(again), directions(model)) < 1e-9
    assert largest_angle(ray_directions(again), ray_directions(front)) < 1e-9
