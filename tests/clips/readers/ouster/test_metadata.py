from __future__ import annotations

import json
import math

import numpy as np
import pytest

from cosmos_lidar.clips.readers.ouster.metadata import geometry_of, parse_metadata
from cosmos_lidar.errors import DataError
from tests.clips.readers.ouster.recordings import COLUMNS, PORT, ROWS, SHIFTS, metadata


def test_both_layouts_hold_the_same():
    flat, nested = parse_metadata(metadata()), parse_metadata(metadata(nested=True))
    for name in ("elevations_rad", "azimuths_rad", "shifts", "sensor_SE3_lidar"):
        assert np.array_equal(getattr(flat, name), getattr(nested, name)), name
    for name in ("columns", "columns_per_packet", "profile", "port", "beam_origin_m", "spin_hz", "name", "serial"):
        assert getattr(flat, name) == getattr(nested, name), name
    assert (flat.columns, flat.port, flat.spin_hz, flat.rows) == (COLUMNS, PORT, 10.0, ROWS)


def test_metadata_without_a_data_format_have_the_shifts_of_their_azimuths():
    document = json.loads(metadata("LEGACY"))
    del document["data_format"]
    found = parse_metadata(json.dumps(document))
    assert found.shifts.tolist() == SHIFTS
    assert (found.profile, found.columns, found.columns_per_packet) == ("LEGACY", COLUMNS, 16)


def test_shifts_of_the_published_sensor_are_those_of_its_azimuths(test_data):
    text = (test_data / "ouster" / "OS-1-128_v2.3.0_1024x10.json").read_text()
    document = json.loads(text)
    stated = parse_metadata(text).shifts
    del document["data_format"]["pixel_shift_by_row"]
    assert np.array_equal(parse_metadata(json.dumps(document)).shifts, stated)


def by_the_manual(row: int, column: int, range_mm: float, beams: dict) -> np.ndarray:
    """A point in sensor axes [mm], with the formulas of the software user manual, one pixel at a time."""
    n = beams["lidar_origin_to_beam_origin_mm"]
    encoder = 2 * math.pi * (1 - column / COLUMNS)
    azimuth = -2 * math.pi * beams["beam_azimuth_angles"][row] / 360
    altitude = 2 * math.pi * beams["beam_altitude_angles"][row] / 360
    lidar = np.array([
        (range_mm - n) * math.cos(encoder + azimuth) * math.cos(altitude) + n * math.cos(encoder),
        (range_mm - n) * math.sin(encoder + azimuth) * math.cos(altitude) + n * math.sin(encoder),
        (range_mm - n) * math.sin(altitude),
        1.0,
    ])  # fmt: skip
    return (np.reshape(beams["lidar_to_sensor_transform"], (4, 4)) @ lidar)[:3]


def test_points_agree_with_the_formula_of_the_manual():
    text = metadata()
    beams, geometry = json.loads(text), geometry_of(text)
    for row in range(ROWS):
        for column in range(0, COLUMNS, 7):
            wanted = by_the_manual(row, column, 12_345.0, beams) / 1000
            shown = (column + SHIFTS[row]) % COLUMNS
            assert geometry.measured[row, shown] == column
            assert geometry.source[row, shown] == row * COLUMNS + column
            found = geometry.directions[row, shown] * 12.345 + geometry.offsets[row, shown]
            assert np.allclose(found + geometry.sensor_SE3_lidar[:3, 3], wanted, atol=2e-6)


def test_the_sensor_looks_where_the_pixels_look():
    geometry = geometry_of(metadata())
    sensor, columns = geometry.sensor, np.arange(COLUMNS)
    azimuths = (
        sensor.first_azimuth_rad - (columns + 0.5) * 2 * np.pi / COLUMNS + sensor.row_azimuth_offsets_rad[:, None]
    )
    found = np.arctan2(geometry.directions[..., 1], geometry.directions[..., 0])
    assert np.abs(np.angle(np.exp(1j * (azimuths - found)))).max() < 1e-6
    assert np.allclose(np.sin(sensor.row_elevations_rad)[:, None], geometry.directions[..., 2], atol=1e-6)
    assert abs(sensor.row_azimuth_offsets_rad).max() < 1e-9
    assert sensor.name == "ouster_os_1_8"


def test_rows_are_put_in_the_order_of_their_elevation():
    swapped = [10, 5, 6, 0, -5, -10, -15, -20]
    geometry = geometry_of(metadata(beam_altitude_angles=swapped))
    assert (np.diff(geometry.sensor.row_elevations_rad) < 0).all()
    assert geometry.source[1, 0] // COLUMNS == 2


def test_a_raised_beam_origin():
    document = json.loads(metadata())
    document["beam_to_lidar_transform"] = [1, 0, 0, 30.0, 0, 1, 0, 0, 0, 0, 1, 40.0, 0, 0, 0, 1]
    geometry = geometry_of(json.dumps(document))
    assert parse_metadata(json.dumps(document)).beam_origin_m == (0.03, 0.04)
    at_origin = geometry.directions * np.float32(0.05) + geometry.offsets  # a range of n is the origin of the beam
    assert np.allclose(np.linalg.norm(at_origin[..., :2], axis=-1), 0.03, atol=1e-6)
    assert np.allclose(at_origin[..., 2], 0.04, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"beam_altitude_angles": [1.0]}, "beam_azimuth_angles"),
        ({"beam_altitude_angles": ["up"] * ROWS}, "beam_altitude_angles"),
        ({"beam_altitude_angles": [float("nan")] * ROWS}, "beam_altitude_angles"),
        ({"beam_azimuth_angles": []}, "beam_azimuth_angles"),
        ({"columns_per_frame": 0}, "columns_per_frame"),
        ({"columns_per_frame": 10**12}, "columns_per_frame"),
        ({"columns_per_frame": "64"}, "columns_per_frame"),
        ({"columns_per_packet": -1}, "columns_per_packet"),
        ({"pixels_per_column": 9}, "pixels_per_column"),
        ({"pixel_shift_by_row": [0]}, "pixel_shift_by_row"),
        ({"pixel_shift_by_row": [COLUMNS] * ROWS}, "pixel_shift_by_row"),
        ({"lidar_to_sensor_transform": [1, 2]}, "lidar_to_sensor_transform"),
        ({"lidar_to_sensor_transform": [0] * 16}, "lidar_to_sensor_transform"),
        ({"lidar_origin_to_beam_origin_mm": "far"}, "lidar_origin_to_beam_origin_mm"),
    ],
)
def test_metadata_that_cannot_be_are_refused(changes, key):
    with pytest.raises(DataError, match=f"file a.json, key {key}"):
        parse_metadata(metadata(**changes), "a.json")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 1}', "5"])
def test_other_texts_are_refused(text):
    with pytest.raises(DataError, match=r"a\.json"):
        parse_metadata(text, "a.json")
