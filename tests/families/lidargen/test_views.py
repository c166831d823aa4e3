"""Which image belongs to a sweep: the one that the recording names, or the nearest in time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.clips import CameraStream, open_clips
from cosmos_lidar.clips.writers.release import write_release
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.lidargen.views import FrameViews, fit_image
from cosmos_lidar.sensors import load_sensor
from cosmos_lidar.sensors.range_image import cut_columns
from cosmos_lidar.sensors.sensor import uniform_sensor
from cosmos_lidar.synth import pinhole_rig, synthesize_drive

NAMES = ("camera_front",)


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    """Sweeps of 100 ms, three images each: the first at the start, the second 16.7 ms before the middle."""
    sensor, rig = uniform_sensor(8, 96, 10, -20), pinhole_rig(("front",), 96, 54)
    folder = tmp_path_factory.mktemp("drive")
    write_release(folder, synthesize_drive(3, sensor, 3, cameras=rig, images_per_sweep=3))
    (clip,) = open_clips(folder)
    return clip


def chosen(clip, **options) -> list[int]:
    views = FrameViews(cameras=NAMES, image_size=(16, 16), **options)
    return [views.image_of(clip, NAMES[0], index)[1] for index in range(len(clip))]


def test_the_published_rule_is_the_default(drive):
    assert chosen(drive) == [int(frame) for frame in drive.frame_ids] == [0, 3, 6]
    times, middles = drive.cameras[NAMES[0]].timestamps_us, drive.timestamps_us.mean(1)
    nearest = np.abs(times[:, None] - middles).argmin(0).tolist()
    assert chosen(drive, image_rule="nearest") == nearest
    assert not set(nearest) & {0, 3, 6}


def test_the_image_of_that_number_is_read_and_its_rays_are_its_own(drive):
    views = {
        rule: FrameViews(cameras=NAMES, image_size=(16, 16), image_rule=rule) for rule in ("frame_indices", "nearest")
    }
    first, other = (one.images(drive, 1) for one in views.values())
    assert not np.allclose(first, other)
    camera = drive.cameras[NAMES[0]]
    only = replace(camera, timestamps_us=camera.timestamps_us[3:4], read=lambda _: camera.read(3))
    alone = replace(drive.with_lidar(image_numbers=np.array([9, 0, 9])), cameras={NAMES[0]: only})
    assert np.array_equal(views["frame_indices"].images(alone, 1), first)
    assert not np.array_equal(views["frame_indices"].rays(drive, 1), views["nearest"].rays(drive, 1))


def test_without_frame_indices_the_nearest_image_is_taken_and_that_is_recorded(drive):
    silent = replace(drive.with_lidar(image_numbers=None), clip_id="silent")
    assert chosen(silent) == chosen(drive, image_rule="nearest")
    views = FrameViews(cameras=NAMES)
    clips = {"frame_indices": [drive.clip_id], "nearest": ["silent"]}
    assert views.rules([drive, silent]) == {"asked": "frame_indices", "clips": clips}
    all_nearest = {"frame_indices": [], "nearest": [drive.clip_id, "silent"]}
    assert replace(views, image_rule="nearest").rules([drive, silent]) == {"asked": "nearest", "clips": all_nearest}


def test_the_tolerance_is_one_of_the_nearest_image(drive):
    assert chosen(drive, tolerance_s=0.001) == [0, 3, 6]  # the recording says so: 50 ms before the middle
    with pytest.raises(DataError, match=r"nearest of 9 images 0\.0\d+ s away.*at most 0.001 s"):
        chosen(drive, tolerance_s=0.001, image_rule="nearest")


def test_a_number_beyond_the_video_and_an_unknown_rule(drive):
    camera = drive.cameras[NAMES[0]]
    short = CameraStream(camera.name, camera.timestamps_us[:5], camera.read)
    with pytest.raises(DataError, match=r"image 6 of 5.*key frame 000006.*0 to 4 in frame_indices"):
        chosen(replace(drive, cameras={NAMES[0]: short}))
    with pytest.raises(UserError, match="image rule 'first': valid: frame_indices, nearest"):
        FrameViews(cameras=NAMES, image_rule="first")


def test_published_sizes():
    sensor = load_sensor("pandar128")
    assert cut_columns(sensor.format, 1800, 8) == 1792
    assert cut_columns(sensor.format, 900, 8) == 896
    image = np.zeros((1080, 1920, 3), np.uint8)
    image[540 - 528 : 540 + 528] = 255  # the rows that 704 of 720 keep
    fitted = fit_image(image, (704, 1280))
    assert fitted.shape == (1, 3, 704, 1280)
    assert (fitted[..., 2:-2, :] == 1).all()
