"""Sensors recovered from sweeps: of published models, and of real recordings."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.clips import Sweep, open_clips
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import load_sensor
from cosmos_lidar.sensors.fit import angular_errors, fit_sensor, row_differences, uniform_fit
from cosmos_lidar.sensors.structured_model import sensor_of_model
from tests.sensors.fit.conftest import measure, measured, offsets_apart, small_lidar
from tests.sensors.fit.ouster import read_capture

MODELS = ("pandar128", "pandar64_pandaset", "waymo_top")


def directions_of(model: dict) -> np.ndarray:
    """Return (rows, columns, 3): every column at its own azimuth in the table, which need not be even."""
    azimuth = np.array(model["column_azimuths_rad"]) + np.array(model["row_azimuth_offsets_rad"])[:, None]
    elevation = np.array(model["row_elevations_rad"])[:, None]
    flat = np.cos(elevation)
    return np.stack([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation) + 0 * azimuth], -1)


@pytest.mark.parametrize("mode", ["shuffled", "ring", "time"])
@pytest.mark.parametrize("name", MODELS)
def test_published_models_are_recovered(test_data, name, mode):
    model = json.loads((test_data / "sensor_models" / f"ncore_{name}.json").read_text())
    true = sensor_of_model(model, name)
    sweeps = [measure(directions_of(model), mode, seed) for seed in (0, 1)]
    fitted = fit_sensor(sweeps, rows=true.rows)
    found, step = fitted.sensor, 2 * np.pi / true.columns
    assert (found.shape, found.clockwise, fitted.locked) == (true.shape, True, True)
    assert np.degrees(np.abs(found.row_elevations_rad - true.row_elevations_rad)).max() <= 0.005
    whole = None if mode == "time" else step  # without times, offsets are known up to whole columns
    assert np.abs(offsets_apart(found.row_azimuth_offsets_rad, true.row_azimuth_offsets_rad, whole)).max() <= 0.005
    apart = found.first_azimuth_rad + found.row_azimuth_offsets_rad
    apart = apart - true.first_azimuth_rad - true.row_azimuth_offsets_rad
    assert np.degrees(np.abs(apart - step * np.round(apart / step))).max() <= 0.005
    uneven = angular_errors(np.concatenate([sweep.points for sweep in sweeps]), true).mean_deg
    assert fitted.errors.mean_deg <= uneven + 0.001  # the table's own steps of the encoder remain
    assert fitted.kept > 0.999
    assert fitted.origin_m == 0.0


def test_a_sensor_file_comes_out(tmp_path):
    fitted = fit_sensor([measured(small_lidar(), "time", seed) for seed in (0, 1)], "mine", spin_hz=20.0)
    path = tmp_path / "mine.yaml"
    path.write_text(fitted.sensor.to_yaml())
    again = load_sensor(path)
    assert again.fingerprint() == fitted.sensor.fingerprint()
    assert (again.name, again.spin_hz, again.shape) == ("mine", 20.0, (16, 720))
    assert fitted.notes == ()
    assert 85 <= again.max_range_m <= 180
    report = json.loads(json.dumps(fitted.to_dict()))
    assert report["errors"]["mean_deg"] == fitted.errors.mean_deg < 0.001
    assert (report["rows"], report["columns"], report["kept"]) == (16, 720, fitted.kept)


def test_direction_of_rotation_and_what_is_not_known():
    counter = [measured(small_lidar(False), "firing", seed) for seed in (0, 1)]
    fitted = fit_sensor(counter)
    assert not fitted.sensor.clockwise
    assert any("mirrored" in note for note in fitted.notes)
    chosen = fit_sensor(counter, clockwise=True)
    assert chosen.sensor.clockwise
    assert chosen.errors.mean_deg < 0.001
    unknown = fit_sensor([measured(small_lidar(False), "shuffled", seed) for seed in (0, 1)])
    assert unknown.sensor.clockwise
    assert any("direction of rotation unknown" in note for note in unknown.notes)


def test_a_lidar_whose_beams_start_elsewhere_than_its_points():
    sweep = measured(small_lidar(), "ring", noise_deg=0.005)
    fitted = fit_sensor([replace(sweep, points=sweep.points + np.float32([0, 0, 0.2]))])
    assert fitted.origin_m == pytest.approx(0.2, abs=0.005)
    assert fitted.from_origin.mean_deg < 0.3 * fitted.errors.mean_deg
    moved = fitted.sensor_at_origin
    assert np.degrees(np.abs(moved.row_elevations_rad - small_lidar().row_elevations_rad)).max() < 0.005
    assert fitted.to_dict()["errors_from_origin"]["mean_deg"] == fitted.from_origin.mean_deg


def test_long_ranges_get_a_longer_storage_step():
    sweep = measured(small_lidar(), "ring")
    assert fit_sensor([replace(sweep, points=sweep.points * np.float32(2.5))]).sensor.range_step_m == 0.004


def sweeps_of(path, lidar=None, **options) -> list[Sweep]:
    """Return the sweeps of a recording as the lidar saw them."""
    stream = open_clips(path, lidar=lidar, **options)[0].lidar
    found = []
    for index in range(len(stream)):
        sweep, motion = stream.read(index), stream.motion(index)
        if stream.motion_compensated and motion is not None:
            sweep = replace(sweep, points=motion.as_seen(sweep.points, sweep.time_us))
        found.append(sweep)
    return found


def test_kitti_hdl64e(test_data):
    """Its points are given from 0.21 m below the lasers, which costs half of the accuracy."""
    fitted = fit_sensor(sweeps_of(test_data / "kitti_velodyne", format="kitti"), rows=64)
    assert 1990 <= fitted.sensor.columns <= 2100
    assert not fitted.sensor.clockwise
    assert 0.19 < fitted.origin_m < 0.23
    assert fitted.from_origin.mean_deg <= 0.08
    assert fitted.errors.mean_deg <= 0.105
    table = row_differences(fitted.sensor, load_sensor("kitti_hdl64e"))
    assert np.abs(table).mean() < 0.1


@pytest.mark.parametrize("rings", [True, False])
def test_nuscenes_hdl32e(test_data, rings):
    """It fires 1080 times a turn at any azimuth: a quarter of that step is the least mean error, 0.083 degrees."""
    sweeps = sweeps_of(test_data / "nuscenes")
    sweeps = sweeps if rings else [replace(sweep, ring=None) for sweep in sweeps]
    fitted = fit_sensor(sweeps)
    assert fitted.sensor.rows in ((32,) if rings else (31, 32))  # the lowest beam hits the car alone
    assert 1075 <= fitted.sensor.columns <= 1095
    assert fitted.sensor.clockwise
    assert fitted.errors.mean_deg <= 0.1
    assert fit_sensor(sweeps, columns=2 * fitted.sensor.columns).errors.mean_deg <= 0.08
    vendor = row_differences(fitted.sensor, load_sensor("nuscenes_hdl32e"))
    assert np.abs(vendor[:16]).max() < 0.05  # lower beams hit near ground alone


@pytest.mark.parametrize(("lidar", "table"), [("up_lidar", "av2_up_vlp32c"), ("down_lidar", "av2_down_vlp32c")])
def test_av2_each_lidar_from_its_own_origin(test_data, lidar, table):
    fitted = fit_sensor(sweeps_of(test_data / "av2", lidar), rows=32)
    assert fitted.errors.mean_deg <= 0.08
    assert fitted.kept > 0.96
    vendor = load_sensor(table)
    assert np.abs(row_differences(fitted.sensor, vendor)).max() < 0.02
    assert 1780 <= fitted.sensor.columns <= 1830


@pytest.mark.parametrize("mode", ["shuffled", "ring", "time"])
def test_ouster_os1_128(test_data, mode):
    """The beams against the factory's table; lower ones see near ground alone, from 0.03 m beside the origin."""
    sweeps, factory = read_capture(test_data / "ouster")
    rng = np.random.default_rng(0)
    mixed = []
    for sweep in sweeps:
        order = rng.permutation(len(sweep.points))
        ring, time_us = (one[order] if mode in which else None
                         for one, which in ((sweep.ring, ("ring", "time")), (sweep.time_us, ("time",))))  # fmt: skip
        mixed.append(Sweep(points=sweep.points[order], ring=ring, time_us=time_us))
    fitted = fit_sensor(mixed, rows=128)
    assert fitted.sensor.shape == (128, 1024)
    assert fitted.locked
    assert fitted.errors.mean_deg <= 0.005
    assert fitted.kept > 0.999
    apart = np.degrees(fitted.sensor.row_elevations_rad - factory["elevations_rad"])
    assert np.abs(apart[:64]).max() < 0.02
    assert np.abs(apart).max() < 0.08
    if mode == "time":
        offsets = fitted.sensor.row_azimuth_offsets_rad
        assert np.abs(offsets_apart(offsets, factory["offsets_rad"])).max() < 0.02


def test_ddad_luminar_is_refused_or_mapped(test_data):
    stream = open_clips(test_data / "ddad_dgp" / "scene_02")[0].lidar
    sweeps = [stream.read(index) for index in range(2)]
    with pytest.raises(DataError, match="no beams.*do not spin.*evenly spaced grid"):
        fit_sensor(sweeps)
    mapped = uniform_fit(sweeps, (64, 600))
    assert mapped.sensor.shape == (64, 600)
    assert mapped.errors.points > 10_000
    assert any("evenly spaced" in note for note in mapped.notes)


def test_an_even_grid_over_what_a_lidar_sees():
    front = small_lidar().between_columns(300, 420)
    mapped = uniform_fit([measured(front, "shuffled")], (32, 100)).sensor
    assert math.degrees(mapped.field_of_view_rad) == pytest.approx(66, abs=3)
    assert np.allclose(np.diff(np.diff(mapped.row_elevations_rad)), 0)
