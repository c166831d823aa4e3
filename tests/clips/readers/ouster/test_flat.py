from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.readers.ouster.flat import BrokenBufferError, root

flatbuffers = pytest.importorskip("flatbuffers")


def buffer() -> bytes:
    """A table of a number, a text, numbers, structs and a vector of two tables."""
    builder = flatbuffers.Builder(64)
    text, numbers = builder.CreateString("names"), builder.CreateNumpyVector(np.array([3, 1, 2], np.uint64))
    inner = []
    for value in (7, 9):
        builder.StartObject(1)
        builder.PrependInt16Slot(0, value, 0)
        inner.append(builder.EndObject())
    builder.StartVector(4, 2, 4)
    for offset in reversed(inner):
        builder.PrependUOffsetTRelative(offset)
    tables = builder.EndVector()
    builder.StartVector(2, 2, 4)
    for byte in reversed(b"abcd"):
        builder.PrependByte(byte)
    structs = builder.EndVector()
    builder.StartObject(6)
    builder.PrependUint64Slot(0, 1 << 40, 0)
    for field, offset in ((1, text), (2, numbers), (3, tables), (4, structs)):
        builder.PrependUOffsetTRelativeSlot(field, offset, 0)
    builder.FinishSizePrefixed(builder.EndObject())
    return bytes(builder.Output())


def read_all(content: bytes, at: int = 0) -> tuple:
    table = root(content, at)
    inner = [one.number(0, "h") for one in table.tables(3)]
    numbers = table.array(2, "<u8").tolist()
    return table.number(0, "Q"), table.text(1), numbers, inner, table.structs(4, 2), table.number(5, "I", 5)


WANTED = (1 << 40, "names", [3, 1, 2], [7, 9], [b"ab", b"cd"], 5)


def test_fields_by_their_numbers():
    assert read_all(buffer()) == WANTED
    assert read_all(b"xx" + buffer(), 2) == WANTED
    table = root(buffer())
    assert (table.text(5), table.tables(9), table.array(9, "<u4").tolist()) == ("", [], [])


def test_every_changed_byte_is_read_or_refused():
    content = buffer()
    refused = 0
    for at in range(len(content)):
        for value in (0, 1, 127, 255):
            changed = content[:at] + bytes([value]) + content[at + 1 :]
            try:
                read_all(changed)
            except BrokenBufferError:
                refused += 1
    assert refused > 50
    for length in range(len(content)):
        with pytest.raises(BrokenBufferError):
            read_all(content[:length])
