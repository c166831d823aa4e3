from __future__ import annotations

import pytest

pytest.importorskip("rosbags")

from cosmos_lidar.clips.readers.rosbag.bag import find_bags, open_bag
from cosmos_lidar.errors import DataError
from tests.clips.readers.rosbag.bags import LIDAR, SWEEPS, Types, drive, write_bag, write_drive


def test_files_that_belong_together(tmp_path):
    for name in ("a_0.mcap", "a_1.mcap", "a_10.mcap", "b.mcap", "c.db3", "d.bag"):
        (tmp_path / name).touch()
    found = find_bags(tmp_path)
    assert [(source.name, [file.name for file in files]) for source, files in found] == [
        ("a_0.mcap", ["a_0.mcap", "a_1.mcap", "a_10.mcap"]), ("b.mcap", ["b.mcap"]), ("c.db3", ["c.db3"]),
        ("d.bag", ["d.bag"])]  # fmt: skip
    assert find_bags(tmp_path / "b.mcap") == [(tmp_path / "b.mcap", [tmp_path / "b.mcap"])]


def test_the_published_split_bag_is_one(test_data):
    ((source, files),) = find_bags(test_data / "rosbag2" / "split")
    assert [file.name for file in files] == [f"multiple_files_{number}.mcap" for number in range(3)]
    bag = open_bag(source, files)
    found = [(time_ns, message.data) for _, time_ns, message in bag.messages(["/chatter"])]
    assert {text for _, text in found} == {"test"}
    assert len(found) == sum(topic.count for file in bag.files for topic in file.topics()) == 3177
    assert [time_ns for time_ns, _ in found] == sorted(time_ns for time_ns, _ in found)


@pytest.mark.parametrize("name", ["talker", "talker_sqlite"])
def test_published_bags_hold_the_same_messages(test_data, name):
    ((source, files),) = find_bags(test_data / "rosbag2" / name)
    found = [message.data for _, _, message in open_bag(source, files).messages(["/topic"])]
    assert found[0].startswith("Hello, world! ")
    assert len(found) == 10


def test_the_index_has_every_message_of_a_sensor(tmp_path):
    ((source, files),) = find_bags(write_drive(tmp_path / "a"))
    found = open_bag(source, files).index([LIDAR])
    assert [message.head.frame for message in found[LIDAR]] == ["lidar"] * SWEEPS


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        ("version: 9", "version: 10", "version 10 .*key version"),
        ("a.mcap", "b.mcap", "file missing .*b.mcap"),
        ("a.mcap", "b.exe", "a storage '.exe'"),
        ("rosbag2_bagfile_information:", "information:", "key rosbag2_bagfile_information"),
        ("serialization_format: cdr", "serialization_format: xml", "serialized as 'xml'"),
        ("compression_mode: ''", "compression_mode: FILE", "compression of each file"),
    ],
)
def test_metadata_that_cannot_be_is_refused(before, after, problem, tmp_path):
    path = write_drive(tmp_path / "a")
    content = (path / "metadata.yaml").read_text()
    assert before in content
    (path / "metadata.yaml").write_text(content.replace(before, after))
    ((source, files),) = find_bags(path)
    with pytest.raises(DataError, match=problem):
        open_bag(source, files)


def test_messages_that_are_compressed_one_by_one_are_refused(tmp_path):
    types = Types(False)
    path = write_bag(tmp_path / "a", drive(types), types, "sqlite3_message")
    ((source, files),) = find_bags(path)
    with pytest.raises(DataError, match=r"compression of each message .*metadata\.yaml, key compression_mode"):
        open_bag(source, files)


def test_a_topic_of_two_types_is_refused(tmp_path):
    types = Types(False)
    records = drive(types)
    one = write_bag(tmp_path / "r_0", [("/x", *records[0][1:])], types)
    two = write_bag(tmp_path / "r_1", [("/x", *records[3][1:])], types)
    with pytest.raises(DataError, match=r"of one topic .*key /x"):
        open_bag(tmp_path, [one / "r_0.mcap", two / "r_1.mcap"])
