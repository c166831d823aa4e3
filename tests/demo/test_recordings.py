from dataclasses import replace
from pathlib import Path

import pytest

from cosmos_lidar.clips import Clip
from cosmos_lidar.clips.cut import cut_clip
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.demo import recordings
from cosmos_lidar.demo.recordings import real_recordings, small_images
from cosmos_lidar.errors import DataError
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


def test_the_drive_with_the_most_cameras_and_a_lidar_is_the_scene(rendered: Clip):
    names = list(rendered.cameras)
    two = {name: rendered.cameras[name] for name in names[:2]}
    alone = replace(rendered, clip_id="cameras alone", lidars={})
    clips = [replace(rendered, clip_id="two", cameras=two), alone, replace(rendered, clip_id="none", cameras={})]
    assert recordings._most_cameras(clips).clip_id == "two"
    assert recordings._most_cameras(clips[1:]).clip_id == "cameras alone"
    assert recordings._most_cameras(clips[2:]) is None


def test_cameras_alone_are_recordings(monkeypatch, rendered: Clip):
    alone = replace(rendered, lidars={})
    monkeypatch.setattr(recordings, "open_clips", lambda *args, **options: [alone])
    found = real_recordings(Path("drives"), None)
    assert (found.train, found.held_out, found.train_labeled) == ([], [], [])
    assert found.scene is alone
    assert found.ring == found.views
    assert found.ring[0] in ("camera_front", "pinhole_front")
    assert set(found.ring) == set(rendered.cameras)
    monkeypatch.setattr(recordings, "open_clips", lambda *args, **options: [replace(alone, cameras={})])
    with pytest.raises(DataError, match="no sweeps and no images"):
        real_recordings(Path("drives"), None)


def test_lidars_of_another_shape_are_not_used(drive, caplog):
    other = synthesize_drive(2, uniform_sensor(8, 32), 1)
    assert recordings._of_one_sensor([drive, other, drive]) == [drive, drive]
    assert "1 clips of lidars of other shapes than 8 x 64" in caplog.text


def test_labeled_sweeps_are_of_different_parts(drive):
    train, held_out = recordings._labeled([drive])
    assert [clip.frame_ids for clip in train] == [(f"{number:06d}",) for number in range(8)]
    assert [clip.frame_ids for clip in held_out] == [("000008",), ("000009",)]
    assert all(clip.lidar.cloud(0).labels is not None for clip in train + held_out)
    assert recordings._labeled([cut_clip(drive, 0, 1)]) == ([], [])

    def without_labels(index: int) -> Sweep:
        return replace(drive.read_sweep(index), labels=None)

    assert recordings._labeled([drive.with_lidar(read=without_labels)]) == ([], [])


def test_a_single_real_sweep_is_held_out(test_data: Path):
    found = real_recordings(test_data / "nuscenes", "nuscenes")
    assert len(found.held_out) == 1
    assert all(clip.format == "synth" for clip in found.train)
    assert "topped up" in found.remark
