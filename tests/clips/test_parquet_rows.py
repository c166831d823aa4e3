"""Rows of Parquet tables: in order and out of it, in other processes, broken and too large ones."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from cosmos_lidar.clips.parquet_rows import RowReader
from cosmos_lidar.errors import DataError

pa = pytest.importorskip("pyarrow", reason="extra parquet is not installed")
pq = pytest.importorskip("pyarrow.parquet", reason="extra parquet is not installed")

ROWS = [{"floats": [float(n)] * (n + 1), "fixed": [n, n + 1, n + 2], "bytes": bytes([n]) * 50, "text": "t"}
        for n in range(20)]  # fmt: skip
SCHEMA = {"floats": pa.list_(pa.float32()), "fixed": pa.list_(pa.int32(), 3), "bytes": pa.binary(), "text": pa.string()}
NAMES = ("floats", "absent", "bytes", "fixed")


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "a.parquet")


def write(path, rows=ROWS, group=6, **options):
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(list(SCHEMA.items()))), path, row_group_size=group, **options)
    return path


def expect_row(found, n):
    assert list(found) == list(NAMES)
    assert found["floats"].tolist() == ROWS[n]["floats"]
    assert found["floats"].dtype == np.float32
    assert found["fixed"].tolist() == ROWS[n]["fixed"]
    assert (found["bytes"], found["absent"]) == (ROWS[n]["bytes"], None)


def test_rows_in_any_order(path):
    read = RowReader(path, NAMES)
    for n in [*range(20), 3, 3, 2, 19, 0, 7, 11]:
        expect_row(read(n), n)


def test_rows_in_order_are_decoded_once(path, monkeypatch):
    """A reader opens its file twice per row group, to find it and to read it, not per row."""
    from cosmos_lidar.clips import parquet_rows

    opened, opener = [], parquet_rows.opened
    monkeypatch.setattr(parquet_rows, "opened", lambda *args: opened.append(args) or opener(*args))
    read = RowReader(path, NAMES)
    for n in range(20):
        read(n)
    assert len(opened) == 8


def test_missing_values(tmp_path):
    read = RowReader(write(tmp_path / "a.parquet", [{"floats": None, "fixed": None, "bytes": None}]), NAMES)
    assert read(0) == dict.fromkeys(NAMES)


def test_another_process_starts_at_its_own_place(path):
    read = RowReader(path, NAMES, "clip")
    expect_row(read(4), 4)
    copy = pickle.loads(pickle.dumps(read))
    expect_row(copy(5), 5)
    child = os.fork()
    if not child:
        try:
            for n in range(5, 12):
                expect_row(read(n), n)
            os._exit(0)
        finally:
            os._exit(1)
    for n in range(5, 12):
        expect_row(read(n), n)
    assert os.waitpid(child, 0)[1] == 0


def test_what_is_not_there_or_of_another_kind(path, tmp_path):
    read = RowReader(path, NAMES, "clip")
    for row in (20, -1):
        with pytest.raises(DataError, match="20 rows, no row") as caught:
            read(row)
        assert (caught.value.file, caught.value.clip) == (path, "clip")
    expect_row(read(1), 1)
    with pytest.raises(DataError, match=r"a string.*key text, row 0.*a list of numbers, or bytes"):
        RowReader(path, ("text",))(0)
    texts = tmp_path / "texts.parquet"
    pq.write_table(pa.table({"floats": [["a"]]}), texts)
    with pytest.raises(DataError, match="a list of string"):
        RowReader(texts, ("floats",))(0)


def test_damaged_files_are_refused(path):
    whole = path.read_bytes()
    for size in (0, 30, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="not a readable Parquet file"):
            RowReader(path, NAMES)(0)
    rng = np.random.default_rng(0)
    for _ in range(100):
        wreck = bytearray(whole)
        for place in rng.integers(0, len(whole), 5):
            wreck[place] = rng.integers(256)
        path.write_bytes(wreck)
        read = RowReader(path, NAMES)
        for row in (0, 3, 8):
            try:
                read(row)
            except DataError:
                pass


def test_a_row_beyond_the_limit(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet", [{"floats": [1.0] * 100_000}])
    assert path.stat().st_size < 10_000
    monkeypatch.setattr("cosmos_lidar.bounds.LARGEST_ITEM", 100_000)
    with pytest.raises(DataError, match="a row would take"):
        RowReader(path, ("floats",))(0)
