from dataclasses import replace
from pathlib import Path

import pytest

from cosmos_lidar.clips.cut import cut_clip
from cosmos_lidar.demo import recordings
from cosmos_lidar.demo.recordings import real_recordings, small_images
from cosmos_lidar.sensors import load_sensor, sensor_names, uniform_sensor
from cosmos_lidar.synth import synthesize_drive


@pytest.fixture
def drive():
    return synthesize_drive(1, uniform_sensor(8, 64), 10)


def test_held_out_sweeps_are_never_trained_on(drive):
    several = [replace(drive, clip_id=f"d{i}") for i in range(5)]
    train, held_out = recordings._divide(several)
    assert [clip.clip_id for clip in train + held_out] == ["d0", "d1", "d2", "d3", "d4"]
    assert len(held_out) == 1
    (train,), (held_out,) = recordings._divide([drive])
    assert (len(train), len(held_out)) == (8, 2)
    assert train.timestamps_us.max() <= held_out.timestamps_us.min()
    assert recordings._divide([cut_clip(drive, 0, 1)])[0] == []


@pytest.mark.parametrize("name", sensor_names())
def test_images_of_every_sensor_become_small(name):
    sensor = small_images(load_sensor(name))
    rows, columns = sensor.rows * sensor.format.repeat_rows, sensor.columns / sensor.format.pair_columns
    assert 128 - sensor.rows < rows <= 128
    assert rows % 8 == 0  # whole latents
    assert columns == int(columns) <= 600


def test_a_single_real_sweep_is_held_out(test_data: Path):
    found = real_recordings(test_data / "nuscenes", "nuscenes")
    assert len(found.held_out) == 1
    assert all(clip.format == "synth" for clip in found.train)
    assert "topped up" in found.remark
