from __future__ import annotations

import struct

import numpy as np
import pytest

from cosmos_lidar.clips.protobuf import FileSource, Message, decode_varint, decode_varints
from cosmos_lidar.errors import DataError
from tests.clips.readers.waymo_records import chunk, double, integer, varint

# The example of protobuf.dev, "Encoding": field 1 is 150; field 2 the text "testing".
PUBLISHED = bytes.fromhex("089601 120774657374696e67")


def test_the_published_example():
    message = Message.of(PUBLISHED, "Test")
    assert [(one.number, one.wire, one.value) for one in message] == [(1, 0, 150), (2, 2, 0)]
    assert message.integer(1, "a") == 150
    assert message.text(2, "b") == "testing"
    assert message.integer(3, "c") is None


def test_every_kind_of_value_in_memory_and_in_a_file(tmp_path):
    packed = struct.pack("<3d", 1.5, -2.0, 0.25)
    inner = integer(1, -7) + integer(1, 5)
    content = (integer(1, -3) + double(2, 0.1) + chunk(3, inner) + chunk(3, b"") + double(4, 7.0) + chunk(4, packed)
               + varint(5 << 3 | 5) + struct.pack("<f", 2.5) + chunk(6, varint(300) + varint(2)) + integer(6, 9)
               + chunk(7, bytes(9000)) + integer(200, 1))  # fmt: skip
    path = tmp_path / "message"
    path.write_bytes(b"before" + content + b"after")
    with FileSource(path) as source:
        for message in (Message.of(content, "M"), Message(source, 6, 6 + len(content), "M", path)):
            assert message.integer(1, "i") == -3
            assert message.double(2, "d") == 0.1
            first, second = message.messages(3, "m")
            assert (first.integer(1, "i"), list(second)) == (5, [])
            assert first.integers(1, "i") == [-7, 5]
            assert message.message(3, "m").by_number == {}  # the last one counts
            assert message.doubles(4, "doubles").tolist() == [7.0, 1.5, -2.0, 0.25]
            assert message.integers(6, "six") == [300, 2, 9]
            start, end = message.span(7, "bytes")
            assert end - start == 9000
            assert message.source.read(start, end - start) == bytes(9000)
            assert message.span(3, "empty") is None
            assert message.integer(200, "i") == 1


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\x08", "a varint that is cut off"),
        (b"\x08\xff\xff", "a varint that is cut off"),
        (b"\x08" + b"\xff" * 12, "a varint of more than ten bytes"),
        (b"\x0a\x05abc", "reaches 2 bytes beyond the message"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7fabc", "beyond the message"),
        (b"\x09abc", "field 1 of 8 bytes reaches 5 bytes"),
        (b"\x0d", "field 1 of 4 bytes"),
        (b"\x0b\x0c", "wire type 3"),
        (b"\x00\x01", "field number 0"),
    ],
)
def test_a_broken_message_is_refused_by_name(content, problem):
    with pytest.raises(DataError, match=problem) as caught:
        Message.of(content, "record 7").integer(9, "x")
    assert caught.value.key == "record 7"


def test_a_wrong_wire_type_is_refused_by_field():
    message = Message.of(integer(1, 4) + double(2, 1.0) + chunk(3, b"abc") + integer(4, 1), "R")
    for read, name in ((message.double, "double"), (message.text, "text"), (message.message, "message")):
        with pytest.raises(DataError, match=r"wire type 0 \(varint\)") as caught:
            read(1, name)
        assert caught.value.key == f"R.{name}"
    with pytest.raises(DataError, match="64-bit"):
        message.integer(2, "i")
    for number in (3, 4):  # 3 bytes are no doubles; varints are not either
        with pytest.raises(DataError, match="Expected: doubles"):
            message.doubles(number, "d")
    with pytest.raises(DataError, match="at most 2"):
        Message.of(chunk(1, bytes(3)), "R").integers(1, "i", 2)
    with pytest.raises(DataError, match="would take"):
        Message.of(chunk(1, bytes(1 << 17)), "R").text(1, "t")


@pytest.mark.parametrize("largest", [100, 300, 2**31])
def test_many_varints_are_decoded_in_parts(largest):
    values = np.random.default_rng(1).integers(-largest if largest > 300 else 0, largest, 40_000)
    packed = np.frombuffer(b"".join(map(varint, values.tolist())), np.uint8)
    assert np.array_equal(decode_varints(packed, len(values)), values)
    assert decode_varints(packed, len(values) - 1) is None
    assert decode_varints(np.concatenate([packed, np.full(40_000, 0x80, np.uint8), [1]]), len(values) + 1) is None


def test_packed_varints_of_32_bits():
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [rng.integers(0, 300, 500), rng.integers(-(2**31), 2**31, 500), [0, 127, 128, 2**31 - 1, -1]]
    )
    packed = np.frombuffer(b"".join(map(varint, values.tolist())), np.uint8)
    found = decode_varints(packed, len(values))
    assert found.dtype == np.int32
    assert np.array_equal(found, values)
    assert decode_varints(packed, len(values) + 1) is None
    assert decode_varints(packed[:-1], len(values)) is None
    assert decode_varints(np.append(packed, np.uint8(0x80)), len(values)) is None
    assert decode_varints(np.array([0x80] * 11 + [1], np.uint8), 1) is None
    assert len(decode_varints(packed[:0], 0)) == 0
    assert decode_varint(varint(2**64 - 1), 0) == (2**64 - 1, 10)
