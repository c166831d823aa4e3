import pytest

from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.synth import synthesize_drive

SENSOR = uniform_sensor(64, 720, 8, -24)


@pytest.fixture(scope="module")
def exact():
    return synthesize_drive(11, SENSOR, 8, noise=None)
