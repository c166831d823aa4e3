"""NCore camera models: lenses by the formulas of its documentation, other models left out, broken ones named."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.camera_models import lens_of_model, windshield_note

FTHETA = {
    "resolution": [64, 48],
    "principal_point": [31.5, 23.0],
    "reference_poly": "ANGLE_TO_PIXELDIST",
    "pixeldist_to_angle_poly": [0.0, 0.025],
    "angle_to_pixeldist_poly": [0.0, 40.0, 0.0, -1.0],
}
PINHOLE = {"resolution": [64, 48], "principal_point": [32, 24], "focal_length": [50, 40],
           "radial_coeffs": [0] * 6, "tangential_coeffs": [0, 0], "thin_prism_coeffs": [0] * 4}  # fmt: skip


def test_f_theta_by_the_reference_polynomial():
    ray = np.array([[math.sin(0.5), 0.0, math.cos(0.5)]])
    assert lens_of_model("ftheta", FTHETA).project(ray)[0][0] == pytest.approx([31.5 + 20 - 0.125, 23])
    backward = {**FTHETA, "reference_poly": "PIXELDIST_TO_ANGLE"}
    assert lens_of_model("ftheta", backward).project(ray)[0][0] == pytest.approx([31.5 + 20, 23], abs=1e-4)
    sheared = {**FTHETA, "linear_cde": [2.0, 0.0, 0.5]}
    assert lens_of_model("ftheta", sheared).project(ray)[0][0] == pytest.approx([31.5 + 39.75, 23 + 9.9375])
    assert lens_of_model("ftheta", {**FTHETA, "linear_cde": [0, 0, 0]}) == lens_of_model("ftheta", FTHETA)


def test_pinholes_count_from_the_corner_of_the_first_pixel():
    for kind in ("opencv-pinhole", "ideal-pinhole", "pinhole"):
        uv, _ = lens_of_model(kind, PINHOLE).project(np.array([[0.1, 0.2, 1.0]]))
        assert uv[0] == pytest.approx([31.5 + 5, 23.5 + 8])


def test_other_models_are_none():
    assert lens_of_model("opencv-fisheye", {}) is None
    assert lens_of_model("opencv-pinhole", {**PINHOLE, "radial_coeffs": [0.1, 0, 0, 0, 0, 0]}) is None


def test_windshields_are_noted():
    assert windshield_note("front", FTHETA) is None
    assert windshield_note("front", {"external_distortion_parameters": {"a": 1}}).startswith("front: distortion")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("resolution", None),
        ("resolution", [64, True]),
        ("principal_point", [1e300, 0]),
        ("principal_point", [math.nan, 0]),
        ("reference_poly", {}),
        ("angle_to_pixeldist_poly", [1]),
        ("angle_to_pixeldist_poly", ["1", "2"]),
        ("linear_cde", "cde"),
    ],
)
def test_broken_parameters_are_named(key, value):
    if isinstance(value, dict):
        value = str(value)
    with pytest.raises(DataError) as caught:
        lens_of_model("ftheta", {**FTHETA, key: value})
    assert caught.value.key == key
    with pytest.raises(DataError, match="a list"):
        lens_of_model("ftheta", [])
