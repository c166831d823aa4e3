"""Parquet tables: columns and single cells of any row groups, and what is broken or too large."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np
import pytest

from cosmos_lidar.clips.parquet import column_names, numbers, read_cell, read_columns
from cosmos_lidar.clips.spans import FileSpan
from cosmos_lidar.errors import DataError

pa = pytest.importorskip("pyarrow", reason="extra parquet is not installed")
pq = pytest.importorskip("pyarrow.parquet", reason="extra parquet is not installed")

ROWS = [{"time": 10 * n, "name": f"row {n}", "cloud": bytes([n]) * 100} for n in range(7)]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "table.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path)
    return FileSpan(path)


def test_columns_that_are_there_come_back(source):
    assert column_names(source) == ["time", "name", "cloud"]
    got = read_columns(source, ("name", "other", "time"))
    assert got == {"name": [row["name"] for row in ROWS], "time": [row["time"] for row in ROWS]}
    assert read_columns(source, ("other",)) == {}


@pytest.mark.parametrize("group", [1, 3, 100])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_cells_of_any_row_group(tmp_path, group, compression):
    path = tmp_path / "table.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=group, compression=compression)
    assert [read_cell(FileSpan(path), "cloud", row) for row in range(7)] == [row["cloud"] for row in ROWS]


def test_cells_that_are_not_there_are_named(source):
    for column, row, found in (("cloud", 7, "7 rows"), ("cloud", -1, "7 rows"), ("x", 0, "no such column"),
                               ("name", 0, "a str"), ("time", 0, "a int")):  # fmt: skip
        with pytest.raises(DataError, match=rf"{found}.*table\.parquet.*clip c, key {column}"):
            read_cell(source, column, row, "c")


def test_cut_and_damaged_files_are_refused(source):
    whole = source.path.read_bytes()
    for size in (0, 4, len(whole) // 2, len(whole) - 1):
        source.path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"not a readable Parquet file.*table\.parquet"):
            read_columns(source, ("time",))
    rng = np.random.default_rng(1)
    for _ in range(100):
        wreck = bytearray(whole)
        for place in rng.integers(0, len(whole), 4):
            wreck[place] = rng.integers(256)
        source.path.write_bytes(wreck)
        with suppress(DataError):
            assert len(read_columns(source, ("time", "name", "cloud"))) <= 3
        with suppress(DataError):
            assert isinstance(read_cell(source, "cloud", 3), bytes)


def test_few_bytes_that_promise_many_rows_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "bomb.parquet"
    text = pa.array(["x" * 100_000] * 4000).dictionary_encode()
    pq.write_table(pa.table({"name": text.cast(pa.string()), "cloud": pa.array([b"y" * 50_000] * 4000)}), path)
    assert path.stat().st_size < 1_000_000
    monkeypatch.setattr("cosmos_lidar.bounds.LARGEST_ITEM", 1_000_000)
    with pytest.raises(DataError, match=r"the columns of a table would take .* at most 1\.0 MB"):
        read_columns(FileSpan(path), ("name",))
    monkeypatch.setattr("cosmos_lidar.bounds.LARGEST_ITEM", 10_000)
    with pytest.raises(DataError, match="a table of 4000 rows would take"):
        read_columns(FileSpan(path), ("name",))
    with pytest.raises(DataError, match="a cell would take"):
        read_cell(FileSpan(path), "cloud", 0)


def test_numbers_are_checked_one_by_one(source):
    assert numbers([1, 2, 3.0], np.int64, "k", source).tolist() == [1, 2, 3]
    assert numbers([2**53 + 1, 5], np.int64, "k", source).tolist() == [2**53 + 1, 5]
    assert numbers([1, 0.5], np.float64, "k", source).tolist() == [1, 0.5]
    assert numbers([], np.int64, "k", source).shape == (0,)
    wrong = [([1, None], "None"), (["a"], "'a'"), ([True], "True"), ([math.nan], "not finite"), ([2**63], "too large"),
             ([10**400], "too large"), ([1.5], "fractions"), ([[1]], "[1]")]  # fmt: skip
    for values, found in wrong:
        with pytest.raises(DataError) as caught:
            numbers(values, np.int64, "k", source, "c")
        assert found in caught.value.problem
        assert (caught.value.key, caught.value.clip, caught.value.file) == ("k", "c", source.path)
