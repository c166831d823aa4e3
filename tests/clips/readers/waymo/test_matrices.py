from __future__ import annotations

import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.clips.protobuf import BytesSource
from cosmos_lidar.clips.readers.waymo.matrices import Place, first_floats, float_rows, read_integers, shape_of
from cosmos_lidar.errors import DataError
from tests.clips.readers.waymo_records import chunk, double, integer, matrix

PLACE = Place(Path("a.tfrecord"), "a_clip", "record 3, TOP")
SHAPE = (4, 9, 6)
FLOATS = np.random.default_rng(0).normal(size=SHAPE).astype("<f4")
INTEGERS = np.random.default_rng(1).integers(-5, 2000, SHAPE).astype("<i4")


def read_floats(content: bytes, shape: tuple[int, ...], rows: int = 3) -> np.ndarray:
    source = BytesSource(b"before" + content + b"after")
    return np.concatenate(list(float_rows(source, 6, 6 + len(content), shape, rows, PLACE)))


@pytest.mark.parametrize("rows", [1, 3, 4, 100])
def test_rows_come_in_blocks(rows):
    source = BytesSource(matrix(FLOATS))
    blocks = list(float_rows(source, 0, len(source.content), SHAPE, rows, PLACE))
    assert [len(block) for block in blocks] == {1: [1, 1, 1, 1], 3: [3, 1], 4: [4], 100: [4]}[rows]
    assert np.array_equal(np.concatenate(blocks), FLOATS)
    assert all(block.flags.aligned and block.flags.c_contiguous for block in blocks)


def test_no_more_than_a_block_is_held():
    values = np.random.default_rng(2).normal(size=(64, 2000, 6)).astype("<f4")
    source = BytesSource(matrix(values))
    tracemalloc.start()
    for number, block in enumerate(float_rows(source, 0, len(source.content), values.shape, 4, PLACE)):
        assert np.array_equal(block, values[4 * number : 4 * number + 4])
    assert tracemalloc.get_traced_memory()[1] < values.nbytes / 4
    tracemalloc.stop()


def test_values_come_back_bit_for_bit():
    assert np.array_equal(read_floats(matrix(FLOATS), SHAPE), FLOATS)
    found = read_integers(matrix(INTEGERS), SHAPE, PLACE)
    assert np.array_equal(found, INTEGERS)
    assert found.dtype == np.int32


def test_the_shape_and_the_head_of_a_matrix_are_read_without_the_rest():
    values = np.random.default_rng(2).normal(size=(64, 2000, 4)).astype("<f4")
    content = b"before" + matrix(values) + b"after"
    source, span = BytesSource(content), (6, len(content) - 5)
    assert shape_of(source, *span, PLACE) == values.shape
    assert np.array_equal(first_floats(source, *span, 6000, PLACE), values.reshape(-1)[:6000])
    asked: list[int] = []
    source.read = lambda start, size: asked.append(size) or content[start : start + size]
    first_floats(source, *span, 6000, PLACE)
    assert sum(asked) < 3 * 4 * 6000 < len(content) / 10
    with pytest.raises(DataError, match="fewer than 600000 values"):
        first_floats(BytesSource(content), *span, 600_000, PLACE)


def broken() -> dict[str, tuple[bytes, str]]:
    shape = chunk(2, b"".join(integer(1, length) for length in SHAPE))
    values, good = FLOATS.tobytes(), matrix(FLOATS)
    return {
        "cut off": (good[:-20], "cut off"),
        "not zlib": (b"\x1f\x8b" + good[2:], "not zlib data"),
        "changed": (good[:60] + bytes([good[60] ^ 255]) + good[61:], "not zlib data|cut off|broken"),
        "empty": (b"", "cut off"),
        "another shape": (matrix(FLOATS.reshape(9, 4, 6)), r"shape \(9, 4, 6\).*Expected: shape \(4, 9, 6\)"),
        "no shape": (zlib.compress(chunk(1, values)), r"shape \(\)"),
        "fewer values": (zlib.compress(chunk(1, values[:-4]) + shape), "860 bytes of values"),
        "not packed": (zlib.compress(b"".join(double(1, 1.0) for _ in range(3)) + shape), "no packed values"),
        "two rows of values": (
            zlib.compress(chunk(1, values[:4]) + chunk(1, values[4:]) + shape),
            "not a matrix: values, then shape",
        ),
        "more values behind": (zlib.compress(chunk(1, values) + shape + chunk(1, b"abcd")), "no packed values in one"),
        "wrong wire type": (zlib.compress(integer(1, 7) + shape), "no packed values"),
        "no message": (zlib.compress(b"\xff" * 40), "no packed values"),
        "bomb": (zlib.compress(bytes(1 << 26)), "more than the bytes of a matrix"),
    }


@pytest.mark.parametrize("kind", broken())
def test_a_damaged_matrix_is_refused_by_place(kind):
    content, problem = broken()[kind]
    with pytest.raises(DataError, match=problem) as caught:
        read_floats(content, SHAPE)
    assert str(caught.value.file) == "a.tfrecord"
    assert caught.value.key.startswith("record 3, TOP")


@pytest.mark.parametrize(
    "kind", [kind for kind in broken() if kind not in ("another shape", "two rows of values", "more values behind")]
)
def test_a_damaged_matrix_of_unknown_shape(kind):
    content, _ = broken()[kind]
    with pytest.raises(DataError) as caught:
        shape_of(BytesSource(content), 0, len(content), PLACE)
    assert caught.value.key.startswith("record 3, TOP")


def test_a_bomb_takes_no_memory(monkeypatch):
    content = zlib.compress(bytes(1 << 26))
    tracemalloc.start()
    for read in (
        lambda: read_floats(content, SHAPE),
        lambda: read_integers(content, SHAPE, PLACE),
        lambda: shape_of(BytesSource(content), 0, len(content), PLACE),
        lambda: first_floats(BytesSource(content), 0, len(content), 100, PLACE),
    ):
        with pytest.raises(DataError):
            read()
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_integers_that_are_too_few_or_broken():
    shape = chunk(2, b"".join(integer(1, length) for length in (1, 2, 2)))
    for packed in (b"\x01\x02\x03", b"\x01\x02\x03\x80", b"\x01\x02\x03\x04\x05"):
        with pytest.raises(DataError, match="not as many integers"):
            read_integers(zlib.compress(chunk(1, packed) + shape), (1, 2, 2), PLACE)
    with pytest.raises(DataError, match="would take"):
        read_floats(b"", (1 << 20, 1 << 20, 4))
