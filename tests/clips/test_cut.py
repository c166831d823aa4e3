from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.clips.cut import cut_clip, cut_frames
from cosmos_lidar.errors import DataError
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.synth import bumper_lidar, synthesize_drive
from tests.clips.writers.conftest import make_drive


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


def test_frames_take_the_images_and_other_lidars_of_their_time() -> None:
    clip = make_drive(2, 4, ("front",), images_per_sweep=3, lidars=[bumper_lidar(uniform_sensor(8, 96, 10, -20))])
    numbered = clip.with_lidar(image_numbers=np.arange(4) * 3)
    other = clip.lidars["bumper"]
    parts = [cut_frames(numbered, *span) for span in ((0, 1), (1, 3), (3, 99))]
    assert [len(part) for part in parts] == [1, 2, 1]
    camera = clip.cameras["camera_front"]
    assert np.array_equal(
        np.concatenate([part.cameras["camera_front"].timestamps_us for part in parts]), camera.timestamps_us
    )
    assert np.array_equal(np.concatenate([part.lidars["bumper"].timestamps_us for part in parts]), other.timestamps_us)
    assert [part.lidar.image_numbers.tolist() for part in parts] == [[0], [0, 3], [0]]
    assert np.array_equal(parts[1].cameras["camera_front"].read(2), camera.read(5))
    assert np.array_equal(parts[1].lidar.range_map(1), clip.range_map(2))
    assert np.array_equal(parts[2].lidar.world_SE3_lidar, clip.world_SE3_lidar[3:])
    assert parts[1].clip_id == clip.clip_id
    with pytest.raises(DataError, match="4 frames, none from 4 on"):
        cut_frames(clip, 4, 5)


def test_frames_of_cameras_alone() -> None:
    clip = replace(make_drive(2, 4, ("front",)), lidars={})
    assert len(cut_frames(clip, 1, 3).cameras["camera_front"]) == 2
