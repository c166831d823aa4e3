"""Sensors are data files: what ships, what a file may say, what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.sensors import load_sensor, ray_directions, sensor_names, uniform_sensor


def test_shipped_sensors():
    shapes = {name: load_sensor(name).shape for name in sensor_names()}
    assert shapes["pandar128"] == (128, 3600)
    assert shapes["pandar128_row_offset"] == (128, 3600)
    assert shapes["waymo_top"] == (64, 2650)
    assert shapes["nuscenes_hdl32e"][0] == 32
    assert shapes["kitti_hdl64e"][0] == 64
    heights = {name: load_sensor(name).rows * load_sensor(name).format.repeat_rows for name in shapes}
    assert {height for name, height in heights.items() if shapes[name][0] != 40} == {512}
    assert {height for name, height in heights.items() if shapes[name][0] == 40} == {480}  # a multiple of 32, too


def test_published_angles():
    pandar = np.degrees(load_sensor("pandar128").row_elevations_rad)
    assert (pandar[0], pandar[41], pandar[-1]) == pytest.approx((14.436, 0.0, -25.016))
    physical = load_sensor("pandar128_row_offset")
    assert physical.row_elevations_rad[[0, -1]] == pytest.approx((0.25220007, -0.43565163), abs=1e-8)
    assert physical.row_azimuth_offsets_rad[[0, 1, -1]] == pytest.approx((0.0, 0.00017443672, 0.11658786), abs=1e-8)


def test_yaml_round_trip(tmp_path):
    for name in sensor_names():
        sensor = load_sensor(name)
        path = tmp_path / f"{name}.yaml"
        path.write_text(sensor.to_yaml())
        assert load_sensor(path).fingerprint() == sensor.fingerprint()


def test_fingerprint_tells_sensors_apart():
    prints = {load_sensor(name).fingerprint() for name in sensor_names()}
    assert len(prints) == len(sensor_names())
    sensor = uniform_sensor(4, 8)
    assert sensor.with_rows(sensor.row_elevations_rad + 1e-9).fingerprint() != sensor.fingerprint()


def test_place_on_the_vehicle(tmp_path):
    sensor = uniform_sensor(4, 8)
    pose = np.array([[0, -1, 0, 0.9], [1, 0, 0, 0.0], [0, 0, 1, 1.8], [0, 0, 0, 1.0]])
    placed = replace(sensor, vehicle_SE3_lidar=pose)
    path = tmp_path / "placed.yaml"
    path.write_text(placed.to_yaml())
    assert np.array_equal(load_sensor(path).vehicle_SE3_lidar, pose)
    assert load_sensor(path).fingerprint() == placed.fingerprint() != sensor.fingerprint()
    assert "vehicle_SE3_lidar" not in sensor.to_yaml()


def test_part_of_a_circle(tmp_path):
    path = tmp_path / "front.yaml"
    path.write_text(
        "name: front\ncolumns: 600\nrow_elevations_deg: [5, 0]\nfirst_azimuth_deg: 60\nend_azimuth_deg: -60\n"
    )
    front = load_sensor(path)
    assert np.degrees(front.field_of_view_rad) == pytest.approx(120)
    assert np.degrees(replace(front, clockwise=False).field_of_view_rad) == pytest.approx(240)
    path = tmp_path / "again.yaml"
    path.write_text(front.to_yaml())
    assert load_sensor(path).fingerprint() == front.fingerprint() != replace(front, end_azimuth_rad=-1).fingerprint()
    whole = uniform_sensor(4, 8)
    assert whole.field_of_view_rad == 2 * np.pi
    assert "end_azimuth" not in whole.to_yaml()


@pytest.mark.parametrize("clockwise", [True, False])
def test_cut_between_columns(clockwise):
    whole = replace(uniform_sensor(4, 360), clockwise=clockwise)
    front = whole.between_columns(120, 240)
    assert (front.columns, np.degrees(front.field_of_view_rad)) == (120, pytest.approx(120))
    assert np.allclose(ray_directions(front), ray_directions(whole)[:, 120:240], atol=1e-12)
    assert np.allclose(ray_directions(front.between_columns(10, 20)), ray_directions(whole)[:, 130:140], atol=1e-12)
    assert whole.between_columns(0, 360) is whole
    with pytest.raises(UserError, match="columns 5 to 400 of 360"):
        whole.between_columns(5, 400)


def test_fingerprints_without_a_place_stay():
    assert load_sensor("pandar128").fingerprint() == "f2d0988faeb0"  # stands in manifests of shards


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\ncolumns: 8\n", "missing key.*row_elevations_rad"),
        ("name: x\ncolumns: 8\nrow_elevations_deg: [1, 0]\nbeams: 3\n", "unknown key.*beams"),
        ("name: x\ncolumns: 8\nrow_elevations_deg: [0, 1]\n", "descending"),
        ("name: x\ncolumns: 8\nrow_elevations_deg: [1, 0]\nrow_azimuth_offsets_deg: [1]\n", "1 azimuth offsets"),
        ("name: x\ncolumns: 0\nrow_elevations_deg: [1, 0]\n", "0 columns"),
        ("name: x\ncolumns: 8\nrow_elevations_deg: [a, b]\n", "not a number"),
        ("name: x\ncolumns: 8\nrow_elevations_deg: [1, 0]\nformat: {widths: 3}\n", "widths"),
        ("name: x\ncolumns: 8\nrow_elevations_deg: [1, 0]\nvehicle_SE3_lidar: [1, 2]\n", r"shape \(2,\).*vehicle_SE3"),
        (
            "name: x\ncolumns: 8\nrow_elevations_deg: [1, 0]\nfirst_azimuth_deg: 20\nend_azimuth_deg: 20\n",
            "field of view of 0.*end_azimuth",
        ),
        ("name: x\ncolumns: 8\nrow_elevations_deg: [1, 0]\nend_azimuth_deg: .nan\n", "nan.*end_azimuth"),
        ("name: x\ncolumns: 8\nrow_elevations_deg: [1, 0]\nend_azimuth_deg: [1, 2]\n", "end_azimuth.*one finite angle"),
        ("[1, 2]", "not a sensor file"),
        ("a: [", "not a YAML file"),
    ],
)
def test_wrong_files_name_file_and_key(tmp_path, text, message):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as error:
        load_sensor(path)
    assert str(path) in str(error.value)


def test_unknown_name_lists_the_known():
    with pytest.raises(UserError, match="unknown sensor 'velodyne'.*pandar128"):
        load_sensor("velodyne")


def test_a_file_that_changed_is_read_again(tmp_path):
    path = tmp_path / "sensor.yaml"
    path.write_text(uniform_sensor(4, 64).to_yaml())
    assert load_sensor(path) is load_sensor(path)
    path.write_text(uniform_sensor(8, 128).to_yaml())
    assert load_sensor(path).shape == (8, 128)
