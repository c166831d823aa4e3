import base64
from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.clips import LidarStream, Sweep
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.viz.recording_frames import PageLimits, frame_count, image_number, pack_frame, sweep_number
from tests.viz.test_recording import recording


def wall(frames: int = 3):
    """The recording with one point per sweep, 10 m ahead and 1 m up, and a camera in the lidar that looks ahead."""
    forward = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1.0]])
    clip = recording(frames)
    still = np.broadcast_to(np.eye(4), (frames, 2, 4, 4))
    camera = replace(clip.cameras["front"], world_SE3_camera=np.broadcast_to(forward, (frames, 4, 4)))
    point = Sweep(points=np.array([[10.0, 0, 1.0]], np.float32), labels=np.array([40], np.uint16))
    changed = clip.with_lidar(world_SE3_lidar=still, read=lambda index: point)
    return replace(changed, cameras={"front": camera})


def block(frame, number: int) -> bytes:
    return base64.b64decode(frame.blocks.texts[number])


def test_a_point_lies_on_the_image_where_the_lens_puts_it():
    frame = pack_frame(wall(), 1, PageLimits())
    (sweep,), (image,) = frame.about["sweeps"], frame.about["images"]
    (overlay,) = sweep["overlays"]
    content = block(frame, overlay["block"])
    u, v = np.frombuffer(content, "<u2", 2) / 65535.0 * (64, 48) - 0.5
    assert overlay["count"] == 1
    assert (u, v) == pytest.approx((31.5, 23.5 - 40 * 1 / 10), abs=0.01)
    assert content[4] == 1 + round(254 * np.log(np.hypot(10, 1) / 2) / np.log(50))
    assert (image["width"], image["height"]) == (64, 48)
    assert block(frame, image["block"])[:2] == b"\xff\xd8"
    assert (sweep["classes"], sweep["count"], frame.about["seconds"]) == ([40], 1, 0.1)


def test_without_lens_or_place_there_is_no_overlay():
    clip = wall()
    for change in ({"model": None}, {"world_SE3_camera": None}):
        changed = replace(clip, cameras={"front": replace(clip.cameras["front"], **change)})
        frame = pack_frame(changed, 0, PageLimits())
        assert frame.about["sweeps"][0]["overlays"] == [None]
        assert frame.about["images"][0] is not None
        assert frame.about["problems"] == []


def test_other_lidars_and_images_are_those_nearest_in_time():
    clip = recording(3)
    times = np.arange(12)[:, None] * 25_000 + [0, 25_000]  # 40 Hz beside 10 Hz
    fast = LidarStream("fast", uniform_sensor(4, 16), tuple(map(str, range(12))), times, clip.lidar.read)
    clip = replace(clip, lidars={**clip.lidars, "fast": fast})
    assert [sweep_number(clip, fast, index) for index in range(3)] == [1, 5, 9]
    assert [sweep_number(clip, clip.lidar, index) for index in range(3)] == [0, 1, 2]
    late = replace(fast, timestamps_us=times + 1_000_000)
    assert sweep_number(clip, late, 0) is None
    camera = replace(clip.cameras["front"], timestamps_us=np.array([0, 40_000, 160_000]))
    assert [image_number(clip, camera, index) for index in range(3)] == [1, 2, 2]
    named = clip.with_lidar(image_numbers=np.array([2, 0, 9]))
    assert [image_number(named, camera, index) for index in range(3)] == [2, 0, 2]


def test_cameras_alone_have_frames():
    clip = replace(recording(4), lidars={})
    assert frame_count(clip) == 4
    frame = pack_frame(clip, 2, PageLimits())
    assert (frame.about["title"], frame.about["seconds"], frame.about["sweeps"]) == ("image 2", 0.2, [])
    assert frame_count(replace(clip, cameras={})) == 0


def test_what_is_broken_is_named_and_the_rest_shown():
    def broken(index):
        raise DataError("cut off", file="a.bin", wanted="more bytes")

    frame = pack_frame(recording().with_lidar(read=broken), 0, PageLimits())
    assert frame.about["sweeps"] == [None]
    assert frame.about["problems"] == ["cut off [file a.bin] Expected: more bytes"]
    assert not frame.empty
    assert isinstance(frame.error, DataError)


def test_a_sweep_without_points_is_an_empty_map():
    empty = recording().with_lidar(read=lambda index: Sweep(points=np.zeros((0, 3), np.float32)))
    (sweep,) = pack_frame(empty, 0, PageLimits()).about["sweeps"]
    assert (sweep["count"], sweep["rows"], sweep["columns"], sweep["overlays"][0]["count"]) == (0, 8, 64, 0)


@pytest.mark.parametrize("limits", [(0, 960, 30), (100, 2, 30), (100, 960, 0), (100, 960, float("nan"))])
def test_limits_that_leave_nothing_are_refused(limits):
    with pytest.raises(UserError, match="expected at least 3 points, 16 pixels, and more than 0 MB"):
        PageLimits(*limits)
