from __future__ import annotations

import bz2

import pytest

pytest.importorskip("rosbags")

from cosmos_lidar.clips.readers.rosbag.ros1 import Ros1File, _unpack
from cosmos_lidar.errors import DataError
from tests.clips.point_formats.encoders import table
from tests.clips.readers.rosbag.bags import START_NS, Types, write_bag

CLOUD = "sensor_msgs/msg/PointCloud2"


@pytest.mark.parametrize("kind", ["ros1", "ros1_bz2", "ros1_lz4"])
def test_messages_by_their_place(kind, tmp_path):
    types = Types(True)
    clouds = [types.cloud(START_NS, table(20 + k)) for k in range(3)]
    times = [START_NS, START_NS + 5, START_NS + 5]  # two of the same time
    path = write_bag(tmp_path / "a", [("/p", CLOUD, t, c) for t, c in zip(times, clouds, strict=True)], types, kind)
    file = Ros1File(path)
    (topic,) = file.topics()
    assert (topic.name, topic.type, topic.encoding, topic.count) == ("/p", CLOUD, "ros1", 3)
    entries = list(file.index(["/p"], 30))
    assert [entry.time_ns for entry in entries] == times
    wanted = [types.serialize(cloud, CLOUD) for cloud in clouds]
    assert [file.fetch(entry.place) for entry in reversed(entries)] == wanted[::-1]
    assert [entry.head for entry in entries] == [content[:30] for content in wanted]
    assert list(file.index(["/q"])) == []
    with pytest.raises(DataError, match="no such message"):
        file.fetch(("/p", START_NS, 1))


def test_chunks_are_unpacked_up_to_the_limit(monkeypatch):
    assert _unpack(bz2.compress(b"a" * 999)) == b"a" * 999
    assert _unpack(b"\x10\0\0\0rest") == b"\x10\0\0\0rest"
    monkeypatch.setattr("cosmos_lidar.bounds.LARGEST_ITEM", 1000)
    lz4 = pytest.importorskip("lz4.frame")
    for packed in (bz2.compress(bytes(1 << 20)), lz4.compress(bytes(1 << 20))):
        with pytest.raises(DataError, match="a chunk would take"):
            _unpack(packed)


@pytest.mark.parametrize(
    "content", [b"", b"#ROSBAG V1.2\n", b"#ROSBAG V2.0\n", b"\xff" * 100, b"#ROSBAG V2.0\n\xff\xff\xff\xff"]
)
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "a.bag").write_bytes(content)
    with pytest.raises(DataError, match=r"not readable: .*a\.bag"):
        Ros1File(tmp_path / "a.bag").topics()
