from __future__ import annotations

import struct
from pathlib import Path

import pytest

from cosmos_lidar.clips.readers.rosbag.mcap import McapFile
from cosmos_lidar.errors import DataError

lz4 = pytest.importorskip("lz4.frame")
pytest.importorskip("rosbags")

MAGIC = b"\x89MCAP0\r\n"


def record(opcode: int, content: bytes) -> bytes:
    return struct.pack("<BQ", opcode, len(content)) + content


def text(value: str) -> bytes:
    return struct.pack("<I", len(value)) + value.encode()


SCHEMA = record(3, struct.pack("<H", 1) + text("sensor_msgs/msg/PointCloud2") + text("ros2msg") + text(""))
CHANNEL = record(4, struct.pack("<HH", 5, 1) + text("/points") + text("cdr") + struct.pack("<I", 0))


def message(number: int, content: bytes, channel: int = 5) -> bytes:
    return record(5, struct.pack("<HIQQ", channel, number, 100 + number, 0) + content)


def chunk(records: bytes, compression: str = "", size: int | None = None) -> bytes:
    packed = lz4.compress(records) if compression == "lz4" else records
    head = struct.pack("<QQQI", 0, 0, len(records) if size is None else size, 0)
    return record(6, head + text(compression) + struct.pack("<Q", len(packed)) + packed)


def write(path: Path, *records: bytes, summary: bytes = b"") -> McapFile:
    """An MCAP file as the specification has it, with or without a summary."""
    body = MAGIC + record(1, text("ros2") + text("tests")) + b"".join(records) + record(15, bytes(4))
    start = len(body) if summary else 0
    path.write_bytes(body + summary + record(2, struct.pack("<QQI", start, 0, 0)) + MAGIC)
    return McapFile(path)


BODIES = [b"a" * 10, b"b" * 3000]


@pytest.mark.parametrize("compression", [None, "", "lz4"])
def test_messages_in_the_file_and_in_chunks(compression, tmp_path):
    records = SCHEMA + CHANNEL + b"".join(message(k, body) for k, body in enumerate(BODIES))
    file = write(tmp_path / "a.mcap", records if compression is None else chunk(records, compression))
    (topic,) = file.topics()
    assert (topic.name, topic.type, topic.encoding) == ("/points", "sensor_msgs/msg/PointCloud2", "cdr")
    entries = list(file.index(["/points"]))
    assert [entry.time_ns for entry in entries] == [100, 101]
    assert entries[1].head == b"b" * 1024
    assert [file.fetch(entry.place) for entry in entries] == BODIES
    assert list(file.index(["/other"])) == []


def test_a_summary_is_enough_for_the_topics(tmp_path):
    statistics = struct.pack("<QHIIIIQQ", 2, 1, 1, 0, 0, 0, 0, 0) + struct.pack("<IHQ", 10, 5, 2)
    file = write(tmp_path / "a.mcap", chunk(b"\xff" * 50), summary=SCHEMA + CHANNEL + record(11, statistics))
    assert file.topics()[0].count == 2


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        (chunk(SCHEMA + CHANNEL, "lz4", 10), "unpacks to 11 bytes or more, not to 10"),
        (chunk(SCHEMA + CHANNEL, "lz4", 1 << 50), "a chunk would take"),
        (chunk(bytes(1 << 24), "lz4", 1 << 20), "unpacks to 1048577 bytes or more"),
        (chunk(SCHEMA, "brotli"), "compressed by 'brotli'"),
        (chunk(chunk(SCHEMA)), "a chunk inside a chunk"),
        (chunk(struct.pack("<BQ", 3, 1 << 60)), "runs beyond its chunk"),
        (record(6, bytes(20)), "a chunk of 20 bytes"),
        (record(6, struct.pack("<QQQI", 0, 0, 9, 0) + text("") + struct.pack("<Q", 99)), "99 bytes in a chunk"),
        (CHANNEL[:20], "inside a record|ends inside a text|does not"),
        (record(4, b"\0"), "a record of 1 bytes"),
        (record(4, struct.pack("<HH", 5, 1) + b"\xff\xff\xff\xff"), "ends inside a text"),
        (struct.pack("<BQ", 3, 1 << 60), "a record of 1152921504606846976 bytes"),
        (message(0, b"a"), "channel 5, which is not there"),
        (record(5, b"abc"), "a message of 3 bytes"),
    ],
)
def test_broken_files_are_refused(records, problem, tmp_path):
    file = write(tmp_path / "a.mcap", records)
    with pytest.raises(DataError, match=f"({problem}).*a.mcap"):
        list(file.index(["/points"]))


def test_other_files_are_refused(tmp_path):
    for content, problem in ((b"", "does not start"), (b"abc" * 30, "does not start"), (MAGIC * 9, "not complete")):
        (tmp_path / "a.mcap").write_bytes(content)
        with pytest.raises(DataError, match=problem):
            McapFile(tmp_path / "a.mcap").topics()
    with pytest.raises(DataError, match="cannot be read"):
        McapFile(tmp_path / "none.mcap").topics()
    file = write(tmp_path / "a.mcap")
    content = bytearray((tmp_path / "a.mcap").read_bytes())
    content[-28:-20] = struct.pack("<Q", 1 << 40)  # where the summary starts
    (tmp_path / "a.mcap").write_bytes(content)
    with pytest.raises(DataError, match="a summary at byte"):
        file.topics()


def test_a_file_that_shrank_is_refused(tmp_path):
    file = write(tmp_path / "a.mcap", SCHEMA, CHANNEL, message(0, b"abc"))
    (entry,) = file.index(["/points"])
    (tmp_path / "a.mcap").write_bytes(MAGIC)
    with pytest.raises(DataError, match="0 of 3 bytes of a message"):
        file.fetch(entry.place)
