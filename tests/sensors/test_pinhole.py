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
