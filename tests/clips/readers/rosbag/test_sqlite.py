from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from cosmos_lidar.clips.readers.rosbag.sqlite import SqliteFile
from cosmos_lidar.errors import DataError

TOPICS = "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT)"
MESSAGES = "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data)"


@pytest.fixture
def file(tmp_path) -> SqliteFile:
    with closing(sqlite3.connect(tmp_path / "a?b.db3")) as database:
        database.execute(TOPICS)
        database.execute(MESSAGES)
        database.execute("INSERT INTO topics VALUES (3, '/points', 'sensor_msgs/PointCloud2', 'cdr')")
        rows = [(1, 3, 200, b"late"), (2, 3, 100, b"e" * 5000), (3, 3, 300, "text"), (4, 4, 50, b"of no topic")]
        database.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", rows[:2] + rows[3:])
        database.commit()
    return SqliteFile(tmp_path / "a?b.db3")


def test_topics_and_messages(file):
    (topic,) = file.topics()
    assert (topic.name, topic.type, topic.encoding) == ("/points", "sensor_msgs/msg/PointCloud2", "cdr")
    entries = list(file.index(["/points"]))
    assert [(entry.time_ns, len(entry.head)) for entry in entries] == [(100, 1024), (200, 4)]
    assert [file.fetch(entry.place) for entry in entries] == [b"e" * 5000, b"late"]
    assert list(file.index(["/other"])) == []


def test_reading_leaves_the_file_as_it_was(file):
    before = file.path.read_bytes()
    file.path.chmod(0o444)
    list(file.index(["/points"]))
    assert file.path.read_bytes() == before
    assert [one.name for one in file.path.parent.iterdir()] == ["a?b.db3"]


def test_messages_that_are_not_there_or_none_are_refused(file):
    with pytest.raises(DataError, match=r"no such message .*a\?b\.db3, key messages 77"):
        file.fetch(77)
    with closing(sqlite3.connect(file.path)) as database:
        database.execute("INSERT INTO messages VALUES (9, 3, 5, 'text')")
        database.execute("INSERT INTO messages VALUES (10, 3, 5, NULL)")
        database.execute("INSERT INTO messages VALUES (11, 3, 'never', x'00')")
        database.commit()
    for place in (9, 10):
        with pytest.raises(DataError, match=f"key messages {place}"):
            file.fetch(place)
    with pytest.raises(DataError, match=r"a\?b\.db3"):
        list(file.index(["/points"]))


def test_a_message_above_the_limit_is_refused(file, monkeypatch):
    monkeypatch.setattr("cosmos_lidar.bounds.LARGEST_ITEM", 1000)
    (entry, _) = file.index(["/points"])
    with pytest.raises(DataError, match=r"a message would take 5\.0 KB"):
        file.fetch(entry.place)


@pytest.mark.parametrize("content", [b"", b"no database" * 100])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "a.db3").write_bytes(content)
    with pytest.raises(DataError, match=r"not readable: .*a\.db3"):
        SqliteFile(tmp_path / "a.db3").topics()
    with pytest.raises(DataError, match="not readable"):
        SqliteFile(tmp_path / "none.db3").topics()
