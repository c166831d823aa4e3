from __future__ import annotations

import gzip
import struct

import pytest

from cosmos_lidar.clips.tfrecord import index_records, masked_crc32c
from cosmos_lidar.errors import DataError
from tests.clips.readers.waymo_records import crc32c, record


def test_checksum_of_the_standard_and_the_mask():
    # RFC 3720, B.4: CRC-32C of 32 bytes of zeros is aa 36 91 8a in the order of the wire.
    assert crc32c(bytes(32)) == 0x8A9136AA
    value = 0x8A9136AA
    assert masked_crc32c(bytes(32)) == ((value >> 15 | value << 17) + 0xA282EAD8) % 2**32


def test_records_are_found_by_their_lengths(tmp_path):
    contents = [b"first", b"", bytes(100_000), b"last"]
    path = tmp_path / "a.tfrecord"
    path.write_bytes(b"".join(map(record, contents)))
    whole = path.read_bytes()
    assert [whole[start:end] for start, end in index_records(path)] == contents


def test_a_real_file(test_data):
    (one,) = index_records(test_data / "waymo" / "v1" / "pvps_data_one_frame.tfrecord")
    size = (test_data / "waymo" / "v1" / "pvps_data_one_frame.tfrecord").stat().st_size
    assert (one.start, one.end) == (12, size - 4)


def test_large_files_are_not_read(tmp_path):
    """A sparse file of 8 GB: two records, of which only the heads exist."""
    path, length = tmp_path / "a.tfrecord", struct.pack("<Q", 4_000_000_000)
    head = length + struct.pack("<I", masked_crc32c(length))
    with path.open("wb") as file:
        for _ in range(2):
            file.write(head)
            file.seek(4_000_000_004, 1)
        file.truncate()
    assert [end - start for start, end in index_records(path)] == [4_000_000_000] * 2


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda whole: whole[:-1], "record 1: cut off: 7 of 8 bytes|cut off: 7 of 8 bytes"),
        (lambda whole: whole[:-12], "8 bytes at its end are no record"),
        (lambda whole: whole[:8] + b"\0\0\0\0" + whole[12:], "wrong checksum of the length at byte 0"),
        (lambda whole: b"\x07" + whole[1:], "wrong checksum of the length at byte 0"),
        (gzip.compress, "compressed by gzip"),
        (lambda whole: b"", "empty"),
    ],
)
def test_what_is_no_complete_file_is_refused(change, problem, tmp_path):
    path = tmp_path / "a.tfrecord"
    path.write_bytes(change(record(b"first") + record(b"next")))
    with pytest.raises(DataError, match=problem) as caught:
        index_records(path)
    assert caught.value.file == path


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="no plain file"):
        index_records(tmp_path)
