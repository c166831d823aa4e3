import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.ftheta import FThetaCamera
from cosmos_lidar.sensors.pinhole import PinholeCamera
from tests.sensors.test_ftheta import FRONT

POINTS = np.array([(0, 0, 1), (1, 0, 5), (-2, 1, 4), (3, -0.5, 1), (5, 2, -1), (0.3, -0.2, 10)], np.float64)
REAR_LEFT = [933.82935, 557.2074, 1920, 1080, 0, 1571.27855, 96.98752, -255.40837, 150.845965, 97.98543, 0]


@pytest.mark.parametrize("camera", [
    FThetaCamera.from_vector(np.array(FRONT)), FThetaCamera.from_vector(np.array(REAR_LEFT)),
    PinholeCamera(700.0, 710.0, 320.5, 240.0, 640, 480),
])  # fmt: skip
def test_torch_agrees_with_numpy(camera):
    uv, depth = camera.project(POINTS)
    torch_uv, torch_depth = camera.project(torch.from_numpy(POINTS))
    assert isinstance(torch_uv, torch.Tensor)
    assert np.allclose(torch_uv.numpy(), uv, atol=1e-9, equal_nan=True)
    assert np.array_equal(torch_depth.numpy(), depth)
    pixels = np.array([[10.0, 20.0], [300.0, 200.0]])
    assert np.allclose(camera.unproject(torch.from_numpy(pixels)).numpy(), camera.unproject(pixels), atol=1e-12)


def test_pinhole_against_the_textbook():
    camera = PinholeCamera(700.0, 710.0, 320.5, 240.0, 640, 480)
    uv, depth = camera.project(POINTS)
    assert uv[1].tolist() == [700.0 / 5 + 320.5, 240.0]
    assert uv[3].tolist() == [3 * 700.0 + 320.5, -0.5 * 710 + 240]
    assert (camera.matrix @ [3, -0.5, 1]).tolist() == [*uv[3].tolist(), 1.0]
    assert np.isnan(uv[4]).all()
    assert depth[4] == -1
    rays = camera.unproject(uv[:4])
    assert np.abs(rays - POINTS[:4] / np.linalg.norm(POINTS[:4], axis=1, keepdims=True)).max() < 1e-12
    wide = PinholeCamera.from_fov(640, 480, np.pi / 2)
    edge = wide.unproject(np.array([[639.5, 239.5]]))[0]
    assert np.arctan2(edge[0], edge[2]) == pytest.approx(np.pi / 4)
    half = camera.resized(320, 240)
    assert np.allclose(half.unproject((uv[:4] + 0.5) / 2 - 0.5), rays)


def test_wrong_pinhole():
    with pytest.raises(DataError, match="not a camera"):
        PinholeCamera(-1.0, 700.0, 1.0, 1.0, 640, 480)


def test_one_pixel_and_one_point():
    """Without further dimensions: numpy makes scalars of what is inside."""
    for camera in (PinholeCamera(100.0, 100.0, 49.5, 29.5, 100, 60), FThetaCamera.from_vector(np.array(FRONT))):
        ray = camera.unproject(np.array([20.0, 10.0]))
        uv, depth = camera.project(ray * 3.0)
        assert ray.shape == (3,)
        assert uv == pytest.approx([20.0, 10.0], abs=1e-2)
        assert depth > 0


# Of the size that cameras of cars have.
DISTORTED = PinholeCamera(2083.1, 2083.1, 957.3, 650.6, 1920, 1280, (0.0403, -0.338, 0.0017, -0.0005, 0.02))


def opencv_formula(camera, point):
    """The text of OpenCV's documentation, one point at a time."""
    k1, k2, p1, p2, k3 = camera.distortion
    x, y = point[0] / point[2], point[1] / point[2]
    r = np.hypot(x, y)
    radial = 1 + k1 * r**2 + k2 * r**4 + k3 * r**6
    u = x * radial + 2 * p1 * x * y + p2 * (r**2 + 2 * x**2)
    v = y * radial + p1 * (r**2 + 2 * y**2) + 2 * p2 * x * y
    return camera.fx * u + camera.cx, camera.fy * v + camera.cy


def test_distortion_by_the_formula_and_back():
    uv = np.stack(np.meshgrid(np.linspace(0, 1919, 25), np.linspace(0, 1279, 17)), -1).reshape(-1, 2)
    rays = DISTORTED.unproject(uv)
    assert np.linalg.norm(rays, axis=1) == pytest.approx(1.0)
    seen, _ = DISTORTED.project(rays * 7.0)
    assert np.abs(seen - uv).max() < 1e-6
    assert np.abs(seen - [opencv_formula(DISTORTED, ray) for ray in rays]).max() < 1e-9
    plain = PinholeCamera(*(getattr(DISTORTED, name) for name in ("fx", "fy", "cx", "cy", "width", "height")))
    assert np.abs(plain.project(rays)[0] - uv).max() > 5  # pixels: what leaving it out costs at the corners
    torch_uv, _ = DISTORTED.project(torch.from_numpy(rays))
    assert np.allclose(torch_uv.numpy(), seen, atol=1e-9)
    assert np.allclose(DISTORTED.unproject(torch.from_numpy(uv)).numpy(), rays, atol=1e-12)
    half = DISTORTED.resized(960, 640)
    assert np.allclose(half.unproject((uv + 0.5) / 2 - 0.5), rays)


def test_rays_beyond_the_turning_point_of_the_distortion_are_not_seen():
    barrel = PinholeCamera(500.0, 500.0, 499.5, 499.5, 1000, 1000, (-0.3, 0.0, 0.0, 0.0, 0.0))
    turning = 1 / np.sqrt(0.9)  # d(r - 0.3 r^3) / dr = 0
    uv, _ = barrel.project(np.array([[turning - 1e-3, 0, 1], [turning + 1e-3, 0, 1], [1.8, 0, 1]]))
    assert np.isnan(uv[:, 0]).tolist() == [False, True, True]
    assert 500 * (1.8 - 0.3 * 1.8**3) + 499.5 < 999  # the formula alone puts the last one into the image
    pincushion = PinholeCamera(500.0, 500.0, 499.5, 499.5, 1000, 1000, (0.3, 0.0, 0.0, 0.0, 0.0))
    assert np.isfinite(pincushion.project(np.array([[50.0, 0, 1]]))[0]).all()


def test_wrong_distortion():
    for distortion in ((0.1,), (0.1, 0.0, 0.0, 0.0, float("nan"))):
        with pytest.raises(DataError, match="k1, k2, p1, p2, k3"):
            PinholeCamera(700.0, 700.0, 1.0, 1.0, 640, 480, distortion)
