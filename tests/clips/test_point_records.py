from __future__ import annotations

import io

import numpy as np
import pytest

from cosmos_lidar.clips.point_records import from_pieces, from_stream, read_columns, read_records, read_text_records
from cosmos_lidar.errors import DataError

DTYPE = np.dtype([("x", ">f4"), ("y", ">f4"), ("z", ">f4"), ("t", ">u8"), ("normal", ">f4", (3,))])


def records(count: int) -> np.ndarray:
    return np.frombuffer(np.random.default_rng(1).bytes(count * DTYPE.itemsize), DTYPE)


def same(found: np.ndarray, values: np.ndarray) -> bool:
    return found.dtype.isnative and found.tobytes() == values.astype(found.dtype).tobytes()


@pytest.mark.parametrize("count", [1, 2048, 5000])
def test_records_become_columns_of_this_machine(count):
    rows = records(count)
    fields = read_records(from_stream(io.BytesIO(rows.tobytes())), DTYPE, count)
    assert all(same(fields.columns[name], rows[name]) for name in DTYPE.names)
    assert all(same(fields.points[:, place], rows[name]) for place, name in enumerate("xyz"))


def test_fields_that_a_sweep_has_no_use_for_are_left_out():
    fields = read_records(from_stream(io.BytesIO(records(9).tobytes())), DTYPE, 9, used=True)
    assert list(fields.columns) == ["x", "y", "z", "t"]
    few = np.dtype([("x", "<f4"), ("normal", "<f4")])
    assert list(read_records(from_stream(io.BytesIO(bytes(8))), few, 1, used=True).columns) == ["x", "normal"]


def test_fields_that_are_stored_one_after_the_other():
    rows = records(5000)
    content = b"".join(rows[name].tobytes() for name in DTYPE.names)
    pieces = (content[start : start + 777] for start in range(0, len(content), 777))
    fields = read_columns(from_pieces(pieces), DTYPE, 5000, used=True)
    assert list(fields.columns) == ["x", "y", "z", "t"]
    assert all(same(fields.columns[name], rows[name]) for name in "xyzt")


def test_numbers_of_a_text_wherever_its_pieces_end():
    values = np.arange(1, 40_001, dtype=np.uint64).reshape(-1, 4)
    values[-1, 3] = 2**64 - 1
    dtype = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("t", "<u8")])
    text = "head 1\n" + "\n".join(" ".join(map(str, row)) for row in values.tolist())
    fields = read_text_records(io.BytesIO(text.encode()), dtype, len(values), skipped=2)
    assert all(fields.columns[name].tolist() == values[:, place].tolist() for place, name in enumerate("xyzt"))


def test_what_ends_early_is_refused():
    with pytest.raises(DataError, match="shorter"):
        read_records(from_stream(io.BytesIO(records(9).tobytes()[:-1])), DTYPE, 9)
    with pytest.raises(DataError, match="ends early"):
        read_columns(from_pieces(iter([b"abc"])), DTYPE, 9)
    with pytest.raises(DataError, match="3 numbers, 2 records need 4"):
        read_text_records(io.BytesIO(b"1 2 3"), np.dtype([("x", "<f4"), ("y", "<f4")]), 2)
    with pytest.raises(DataError, match="no int32: .*key property y"):
        read_text_records(io.BytesIO(b"1 2.5 3 4"), np.dtype([("x", "<f4"), ("y", "<i4")]), 2, called="property")
