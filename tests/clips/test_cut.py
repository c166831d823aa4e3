import numpy as np
import pytest

from cosmos_lidar.clips.cut import cut_clip
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.synth import synthesize_drive


@pytest.fixture
def drive():
    return synthesize_drive(1, uniform_sensor(8, 64), 10)


def test_a_cut_keeps_the_numbers_of_its_images(drive):
    numbered = drive.with_lidar(image_numbers=np.arange(0, 30, 3))
    assert cut_clip(numbered, 3, 6).lidar.image_numbers.tolist() == [9, 12, 15]
    assert cut_clip(drive, 3, 6).lidar.image_numbers is None


def test_a_cut_is_the_same_sweeps(drive):
    part = cut_clip(drive, 3, 6)
    assert len(part) == 3
    assert part.clip_id != drive.clip_id
    np.testing.assert_array_equal(part.range_map(2), drive.range_map(5))
    np.testing.assert_array_equal(part.timestamps_us, drive.timestamps_us[3:6])
    np.testing.assert_array_equal(part.world_SE3_lidar, drive.world_SE3_lidar[3:6])
