from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from cosmos_lidar.clips.readers.rosbag.lenses import is_rectified, lens_of

K = [400.0, 0, 320.5, 0, 410.0, 239.5, 0, 0, 1]
P = [380.0, 0, 318.0, -57.0, 0, 380.0, 241.0, 0, 0, 0, 1, 0]
D = [-0.29, 0.085, 0.0006, -0.0004, -0.011]


def info(model: str = "plumb_bob", ros1: bool = False, **values: object) -> SimpleNamespace:
    matrices = {"k": K, "d": D, "p": P, **values}
    if ros1:
        matrices = {name.upper(): value for name, value in matrices.items()}
    return SimpleNamespace(width=640, height=480, distortion_model=model, **matrices)


@pytest.mark.parametrize("ros1", [False, True])
def test_plumb_bob_is_the_distortion_of_opencv(ros1):
    lens, problem = lens_of(info(ros1=ros1), rectified=False)
    assert problem is None
    k1, k2, p1, p2, k3 = D
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-0.7, 0.7, 50), rng.uniform(-0.5, 0.5, 50)
    r2 = x**2 + y**2
    gain = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    u = 400 * (x * gain + 2 * p1 * x * y + p2 * (r2 + 2 * x**2)) + 320.5
    v = 410 * (y * gain + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y) + 239.5
    uv, _ = lens.project(np.stack([4 * x, 4 * y, np.full(50, 4.0)], 1))
    assert np.abs(uv - np.stack([u, v], 1)).max() < 1e-9
    rays = lens.unproject(uv)
    assert np.abs(rays[:, :2] / rays[:, 2:] - np.stack([x, y], 1)).max() < 1e-9


def test_fewer_coefficients_and_none():
    assert lens_of(info(d=D[:4]), False)[0].distortion == (*D[:4], 0.0)
    assert lens_of(info(d=[]), False)[0].distortion == ()
    assert lens_of(info(d=[0.0] * 5), False)[0].distortion == ()
    assert lens_of(info("rational_polynomial", d=[*D, 0, 0, 0]), False)[0].distortion == tuple(D)


def test_rectified_images_have_the_matrix_p_and_no_distortion():
    lens, problem = lens_of(info(), rectified=True)
    assert (lens.fx, lens.fy, lens.cx, lens.cy, lens.distortion, problem) == (380.0, 380.0, 318.0, 241.0, (), None)
    lens, _ = lens_of(info(p=[0.0] * 12), rectified=True)
    assert (lens.fx, lens.distortion) == (400.0, ())


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (info(k=[0.0] * 9), "the matrix is empty"),
        (info(k=[np.nan] * 9), "the matrix is empty"),
        (info(k=K[:4]), "the matrix is empty"),
        (info("rational_polynomial", d=[*D, 0.1, 0, 0]), "'rational_polynomial' with 8 coefficients is not modeled"),
        (info("equidistant", d=[0.1, 0, 0, 0]), "'equidistant' with 4 coefficients is not modeled"),
        (info(d=[np.inf, 0, 0, 0, 0]), "coefficients of distortion"),
        (info(d=[1e9, 0, 0, 0, 0]), "coefficients of distortion"),
    ],
)
def test_what_is_no_lens(message, problem):
    lens, found = lens_of(message, False)
    assert lens is None
    assert problem in found


def test_names_of_rectified_topics():
    assert is_rectified("/cam/image_rect")
    assert is_rectified("/cam/image_rect_color/compressed")
    assert not is_rectified("/cam/image_raw")
    assert not is_rectified("/image_rectifier/image_raw/compressed")
    assert not is_rectified("compressed")
