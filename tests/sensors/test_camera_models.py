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


DISTORTED = {**PINHOLE, "radial_coeffs": [-0.31, 0.12, -0.021, 0, 0, 0], "tangential_coeffs": [0.0012, -0.0007]}


def test_distortion_is_that_of_opencv():
    lens = lens_of_model("opencv-pinhole", DISTORTED)
    (k1, k2, k3), (p1, p2) = DISTORTED["radial_coeffs"][:3], DISTORTED["tangential_coeffs"]
    assert lens.distortion == (k1, k2, p1, p2, k3)
    x, y = 0.35, -0.28
    r2 = x * x + y * y
    gain = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    u = 50 * (x * gain + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)) + 31.5
    v = 40 * (y * gain + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y) + 23.5
    uv, _ = lens.project(np.array([[3 * x, 3 * y, 3.0]]))
    assert uv[0] == pytest.approx([u, v], abs=1e-9)
    back = lens.unproject(uv)[0]
    assert back / back[2] == pytest.approx([x, y, 1.0], abs=1e-9)


def test_distortion_is_that_of_ncore():
    """Its own camera model, which counts pixels from the corner of the image."""
    camera = pytest.importorskip("ncore.sensors", reason="extra ncore is not installed")
    data = pytest.importorskip("ncore.data", reason="extra ncore is not installed")
    numbers = {key: np.array(DISTORTED[key], np.float32) for key in DISTORTED if key != "resolution"}
    model = camera.OpenCVPinholeCameraModel(
        data.OpenCVPinholeCameraModelParameters(
            resolution=np.array(DISTORTED["resolution"], np.uint64), shutter_type=data.ShutterType.GLOBAL,
            external_distortion_parameters=None, **numbers,
        ),
        device="cpu",
    )  # fmt: skip
    rays = np.array([[0.2, 0.1, 1.0], [-0.4, 0.3, 1.0], [0.0, -0.35, 1.0]], np.float32)
    theirs = model.camera_rays_to_image_points(rays).image_points.numpy()
    ours, _ = lens_of_model("opencv-pinhole", DISTORTED).project(rays.astype(np.float64))
    assert np.abs(ours + 0.5 - theirs).max() < 1e-4


def test_other_models_are_none():
    assert lens_of_model("opencv-fisheye", {}) is None
    assert lens_of_model("opencv-pinhole", {**PINHOLE, "radial_coeffs": [0.1, 0, 0, 0.2, 0, 0]}) is None
    assert lens_of_model("opencv-pinhole", {**PINHOLE, "thin_prism_coeffs": [0, 0, 0.01, 0]}) is None
    with pytest.raises(DataError) as caught:
        lens_of_model("opencv-pinhole", {**PINHOLE, "tangential_coeffs": [0, 0, 1]})
    assert caught.value.key == "tangential_coeffs"


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
