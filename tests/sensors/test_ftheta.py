import numpy as np
import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors.ftheta import FThetaCamera

POINTS = np.array([(0, 0, 1), (1, 0, 5), (-2, 1, 4), (3, -0.5, 1), (5, 2, -1), (0.3, -0.2, 10)], np.float64)
BACKWARD = [1931.257881559029, 1509.477889795519, 3840, 2160, 0, 0.0005280342432281367, 3.440655735426777e-09,
            -5.025598287293601e-12, 5.143362581269205e-15, 0, 1]  # fmt: skip
FRONT = [954.2063, 757.15415, 1920, 1080, 0, 0.00105758628, 8.2116208e-09, -3.3945008e-11, 8.0734208e-14,
         -2.94602496e-17, 1]  # fmt: skip
REAR_LEFT = [933.82935, 557.2074, 1920, 1080, 0, 1571.27855, 96.98752, -255.40837, 150.845965, 97.98543, 0]
PUBLISHED = {
    "backward": (BACKWARD, 1.42663773, [
        (1931.2579, 1509.4779), (2304.4619, 1509.4779), (1073.0208, 1938.5964), (4112.4536, 1145.9453),
        (4611.2983, 2581.4941), (1988.0237, 1471.6340)]),
    "front": (FRONT, 1.34768865, [
        (954.2063, 757.15415), (1140.7029, 757.1542), (524.5265, 971.9941), (2084.9490, 568.6971),
        (2411.7166, 1340.1582), (982.5395, 738.2654)]),
    "rear left": (REAR_LEFT, 0.71162552, [
        (933.82935, 557.2074), (1246.0657, 557.2074), (213.0356, 917.6042), (2939.2424, 222.9719),
        (3596.1189, 1622.1232), (981.0411, 525.7329)]),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_ftheta_projects_as_published(name):
    vector, max_angle, pixels = PUBLISHED[name]
    camera = FThetaCamera.from_vector(np.array(vector))
    uv, depth = camera.project(POINTS)
    assert np.abs(uv - np.array(pixels))[[0, 1, 2, 5]].max() < 0.05
    assert np.abs(uv - np.array(pixels)).max() < 0.05  # extrapolated points too
    assert np.array_equal(depth, POINTS[:, 2])
    assert camera.max_angle_rad == pytest.approx(max_angle, abs=5e-6)


def test_ftheta_rays_as_published():
    rays = FThetaCamera.from_vector(np.array(BACKWARD)).unproject(np.array([(0, 0), (3839, 2159), (2000, 1000.0)]))
    wanted = [(-0.77971658, -0.60942919, 0.14365980), (0.85281685, 0.29035549, 0.43404741),
              (0.03592945, -0.26628909, 0.96322334)]  # fmt: skip
    assert np.abs(rays - wanted).max() < 2e-7


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("linear", [(), (1.002, 0.003, -0.002)])
def test_ftheta_round_trip(name, linear):
    camera = FThetaCamera.from_vector(np.array(PUBLISHED[name][0] + list(linear)))
    rng = np.random.default_rng(1)
    uv = rng.uniform(0, 1, (20, 30, 2)) * [camera.width - 1, camera.height - 1]
    rays = camera.unproject(uv)
    assert rays.shape == (20, 30, 3)
    assert np.abs(np.linalg.norm(rays, axis=-1) - 1).max() < 1e-12
    # The inverse polynomial is a fit of degree 5, as published: a tenth of a pixel at 3840 columns.
    assert np.abs(camera.project(7.5 * rays)[0] - uv).max() < 0.1


def test_ftheta_linear_part():
    plain = FThetaCamera.from_vector(np.array(FRONT))
    leaning = FThetaCamera.from_vector(np.array([*FRONT, 1.1, 0.2, 0.05]))
    offset = plain.project(POINTS[1:4])[0] - [plain.cx, plain.cy]
    wanted = offset @ np.array([[1.1, 0.2], [0.05, 1.0]]).T + [plain.cx, plain.cy]
    assert np.abs(leaning.project(POINTS[1:4])[0] - wanted).max() < 0.02
    identity = FThetaCamera.from_vector(np.array([*FRONT, 1, 0, 0]))
    assert np.array_equal(identity.project(POINTS)[0], plain.project(POINTS)[0])


@pytest.mark.parametrize("vector", [FRONT, REAR_LEFT, [*FRONT, 1.1, 0.2, 0.05]])
def test_ftheta_vector_round_trip(vector):
    assert FThetaCamera.from_vector(np.array(vector)).to_vector().tolist() == pytest.approx(vector)


@pytest.mark.parametrize("vector", [FRONT, REAR_LEFT, [*FRONT, 1.01, 0.02, 0.005]])
def test_ftheta_resized_sees_the_same(vector):
    camera = FThetaCamera.from_vector(np.array(vector))
    small = camera.resized(480, 270)
    uv = np.array([(100.0, 200.0), (1800.0, 1000.0), (954.0, 757.0)])
    assert np.abs(small.unproject((uv + 0.5) / 4 - 0.5) - camera.unproject(uv)).max() < 1e-6


@pytest.mark.parametrize(("vector", "words"), [
    (FRONT[:10], "10 intrinsics"), ([*FRONT, 1.0], "12 intrinsics"), ([np.nan, *FRONT[1:]], "not finite"),
    ([*FRONT[:2], 0, 1080, *FRONT[4:]], "not a camera"),
    ([900, 500, 1920, 1080, 0, 1500, 0, -900, 0, 0, 0], "radius falls"),
])  # fmt: skip
def test_wrong_ftheta(vector, words):
    with pytest.raises(DataError, match=words) as caught:
        FThetaCamera.from_vector(np.array(vector, np.float64))
    assert caught.value.key == "ftheta_intrinsic"
