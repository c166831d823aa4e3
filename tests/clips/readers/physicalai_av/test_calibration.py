"""Tables of calibration of PhysicalAI-AV: mountings, lenses and the vehicle's box against formulas."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from cosmos_lidar.clips.readers.physicalai_av.calibration import (
    Calibration,
    Row,
    lens_of,
    lidar_sensor,
    pose_of,
    shutter_us,
    vehicle_box,
)
from cosmos_lidar.clips.readers.physicalai_av.layout import Files
from cosmos_lidar.clips.spans import FileSpan
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import model_of_sensor
from tests.clips.readers.physicalai_av.recording import DIMENSIONS, LENS, pq, quaternion, table
from tests.clips.readers.synthetic import EGO_SE3_CAMERA, sensor


def row(**values: object) -> Row:
    return Row(FileSpan("table.parquet"), "clip", "camera", values)


def test_mountings_are_quaternions_with_the_real_part_named_w():
    assert np.allclose(pose_of(row(**quaternion(EGO_SE3_CAMERA))), EGO_SE3_CAMERA)
    with pytest.raises(DataError, match=r"None in it.*table\.parquet.*clip clip.*key camera qz"):
        pose_of(row(**{**quaternion(EGO_SE3_CAMERA), "qz": None}))


@pytest.mark.parametrize("angle", [0.1, 0.5, 0.9])
def test_lenses_by_either_polynomial_and_linear_part(angle):
    backward = {**LENS, "reference_poly": "PIXELDIST_TO_ANGLE", "linear_cde": [1.1, 0.02, 0.01]}
    ray = np.array([[math.sin(angle) * 0.6, math.sin(angle) * 0.8, math.cos(angle)]])
    uv, _ = lens_of(row(model_type="ftheta", model_parameters=json.dumps(LENS))).project(ray)
    radius = 40 * angle - angle**3
    assert uv[0] == pytest.approx([31.5 + 0.6 * radius, 23 + 0.8 * radius], abs=1e-9)
    uv, _ = lens_of(row(model_type="ftheta", model_parameters=json.dumps(backward))).project(ray)
    du, dv = 0.6 * angle / 0.025, 0.8 * angle / 0.025
    assert uv[0] == pytest.approx([31.5 + 1.1 * du + 0.02 * dv, 23 + 0.01 * du + dv], abs=1e-3)


def test_the_same_pixels_as_ncore():
    types, camera = pytest.importorskip("ncore.data"), pytest.importorskip("ncore.sensors")
    pytest.importorskip("torch")
    given = {key: value for key, value in LENS.items() if key != "shutter_delay_us"}
    model = camera.FThetaCameraModel(types.FThetaCameraModelParameters.from_dict(given), device="cpu")
    rays = np.array([[0.2, -0.1, 1.0], [-0.5, 0.2, 1.0], [0.0, 0.3, 1.0]])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    theirs = model.camera_rays_to_image_points(rays.astype(np.float32)).image_points.numpy()
    ours, _ = lens_of(row(model_parameters=json.dumps(LENS))).project(rays)
    assert theirs - 0.5 == pytest.approx(ours, abs=2e-3)  # NCore's image (0, 0) is the corner of the first pixel


def test_other_lenses_and_shutters():
    assert lens_of(row(model_type="opencv-fisheye", model_parameters="{}")) is None
    assert (shutter_us(row(model_parameters=json.dumps(LENS))), shutter_us(row())) == (30_000, 0)
    with pytest.raises(DataError, match=r"-4.*shutter_delay_us"):
        shutter_us(row(model_parameters='{"shutter_delay_us": -4}'))


@pytest.mark.parametrize(
    "change",
    [
        {"resolution": [64]},
        {"resolution": "64x48"},
        {"principal_point": [1, None]},
        {"reference_poly": 3},
        {"angle_to_pixeldist_poly": [math.nan, 1]},
        {"angle_to_pixeldist_poly": [0.0, -40.0]},
        {"linear_cde": [1, 2]},
    ],
)
def test_broken_lenses_are_named(change):
    with pytest.raises(DataError, match=r"table\.parquet.*clip clip.*key camera "):
        lens_of(row(model_parameters=json.dumps({**LENS, **change})))


def test_the_vehicles_box_stands_on_the_ground():
    box = vehicle_box({"": row(**DIMENSIONS)}, 0.5)
    assert box.tolist() == pytest.approx(np.array([[1.4 - 2.45 - 0.5, -1.55, -0.5], [1.4 + 2.45 + 0.5, 1.55, 2.0]]))
    assert vehicle_box({}, 0.5) is None
    with pytest.raises(DataError, match="0 x 2.1 x 1.5 m|0.0 x 2.1"):
        vehicle_box({"": row(**{**DIMENSIONS, "length": 0})}, 0.5)


def test_models_without_a_type_are_read():
    made, deviation = lidar_sensor({"": row(model_parameters=json.dumps(model_of_sensor(sensor())))})
    assert made.shape == sensor().shape
    assert deviation < 1e-9


def test_tables_with_unnamed_and_without_index(tmp_path):
    for number, rows in enumerate(([{"__index_level_0__": "clip", **DIMENSIONS}], [DIMENSIONS])):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(table(rows), path)
        files = Files(tables={"vehicle_dimensions": [(None, FileSpan(path))]})
        name, found = Calibration(files).rows("clip", "vehicle_dimensions")
        assert (name, found[""].number("width")) == ("vehicle_dimensions", 2.1)
    assert Calibration(files).rows("clip", "sensor_extrinsics") == (None, {})
