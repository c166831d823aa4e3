from __future__ import annotations

import pickle
from pathlib import Path

import pytest

pytest.importorskip("rosbags")

from cosmos_lidar.clips import open_clips
from cosmos_lidar.clips.readers.rosbag.bag import Message
from cosmos_lidar.clips.readers.rosbag.storage import Entry, Head
from cosmos_lidar.clips.readers.rosbag.streams import in_time_order
from cosmos_lidar.errors import DataError
from tests.clips.point_formats.encoders import table
from tests.clips.readers.rosbag.bags import LIDAR, START_NS, Types, pixels, write_bag, write_drive


def message(recorded: int, stamp: int) -> Message:
    return Message(0, Entry("/p", recorded, None, b""), Head(stamp, "f", (1, 2), ""))


def test_messages_are_put_in_the_order_of_their_stamps():
    stream = in_time_order("/p", [message(3000, 9000), message(4000, 5000), message(5000, 9000)])
    assert stream.times_us.tolist() == [5, 9]
    assert [one.entry.time_ns for one in stream.messages] == [4000, 3000]
    assert (stream.dropped, stream.of_bag) == (1, False)
    stream = in_time_order("/p", [message(3000, 9000), message(4000, 0)])
    assert (stream.times_us.tolist(), stream.of_bag) == ([3, 4], True)


@pytest.mark.parametrize("kind", ["mcap", "sqlite3", "ros1"])
def test_what_reads_is_small(kind, tmp_path):
    (clip,) = open_clips(write_drive(tmp_path / "a", kind))
    assert len(pickle.dumps(clip.lidar.read)) < 2000


def test_errors_name_file_topic_and_message(tmp_path):
    types = Types(False)
    cloud = types.cloud(START_NS, table(5)[:0])
    (clip,) = open_clips(write_bag(tmp_path / "a", [(LIDAR, "sensor_msgs/msg/PointCloud2", START_NS, cloud)], types))
    with pytest.raises(DataError, match=r"no point in it .*a\.mcap, clip a, key /lidar/points message 0 points"):
        clip.read_sweep(0)
    image = types.image(START_NS, pixels(0))
    image.step = 1 << 20
    (clip,) = open_clips(write_bag(tmp_path / "b", [("/i", "sensor_msgs/msg/Image", START_NS, image)], types))
    with pytest.raises(DataError, match=r"b\.mcap, clip b, key /i message 0 data"):
        clip.cameras["i"].read(0)
    assert Path(tmp_path / "b" / "b.mcap").is_file()
