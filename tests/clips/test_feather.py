from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cosmos_lidar.bounds import ENVIRONMENT
from cosmos_lidar.clips.feather import read_feather
from cosmos_lidar.errors import DataError

arrow = pytest.importorskip("pyarrow")
feather = pytest.importorskip("pyarrow.feather")

COLUMNS = {"x": "number", "laser": "integer", "name": "text"}


def write(path: Path, compression: str = "lz4", **columns: object) -> Path:
    table = {
        "x": np.linspace(-5, 5, 2000).astype(np.float16),
        "laser": np.arange(2000, dtype=np.uint8) % 64,
        "name": [f"n{k}" for k in range(2000)],
    } | columns
    feather.write_feather(arrow.table(table), path, compression=compression)
    return path


@pytest.mark.parametrize("compression", ["lz4", "zstd", "uncompressed"])
def test_columns_come_back_as_they_were_written(tmp_path, compression):
    read = read_feather(write(tmp_path / "a.feather", compression), COLUMNS)
    assert np.array_equal(read["x"], np.linspace(-5, 5, 2000).astype(np.float16))
    assert (read["x"].dtype, read["laser"].dtype) == (np.float16, np.uint8)
    assert np.array_equal(read["laser"], np.arange(2000) % 64)
    assert read["name"].tolist()[-1] == "n1999"


def test_dictionaries_are_texts(tmp_path):
    names = arrow.array(["up", "down"] * 1000).dictionary_encode()
    assert read_feather(write(tmp_path / "a.feather", name=names), {"name": "text"})["name"].tolist()[:3] == [
        "up", "down", "up",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"y": "number"}, "no such column among x, laser, name.*a.feather, clip c, key y"),
        ({"name": "number"}, "string.*key name.*kind number"),
        ({"x": "integer"}, "halffloat.*key x.*kind integer"),
        ({"laser": "text"}, "uint8.*key laser.*kind text"),
    ],
)
def test_other_columns_are_named(tmp_path, columns, message):
    with pytest.raises(DataError, match=message):
        read_feather(write(tmp_path / "a.feather"), columns, "c")


def test_empty_entries_and_two_columns_of_one_name(tmp_path):
    empty = arrow.array([None, *range(1999)], arrow.int32())
    with pytest.raises(DataError, match="1 empty entries.*key laser"):
        read_feather(write(tmp_path / "a.feather", laser=empty), COLUMNS)
    twice = arrow.table([arrow.array([1]), arrow.array([2])], names=["x", "x"])
    feather.write_feather(twice, tmp_path / "b.feather")
    with pytest.raises(DataError, match="no such column among x, x"):
        read_feather(tmp_path / "b.feather", {"x": "number"})


def test_what_is_no_feather_file(tmp_path):
    for content, message in (
        (b"", "an empty file"),
        (b"PAR1abcdefgh", "starts with b'PAR1"),
        (b"FEA1" * 9, "version 2"),
    ):
        (tmp_path / "a.feather").write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_feather(tmp_path / "a.feather", COLUMNS)
    with pytest.raises(DataError, match="cannot be read: No such file.*none.feather"):
        read_feather(tmp_path / "none.feather", COLUMNS)


def test_damaged_files_are_refused_or_read_and_nothing_else(tmp_path):
    whole = write(tmp_path / "a.feather").read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(150):
        damaged = bytearray(whole)
        if number % 3:
            for place in rng.integers(0, 1500 if number % 3 == 1 else len(damaged), 20):
                damaged[place] = rng.integers(256)
        else:
            damaged = damaged[: rng.integers(8, len(damaged) // 2)]
        (tmp_path / "b.feather").write_bytes(damaged)
        try:
            read_feather(tmp_path / "b.feather", COLUMNS)
        except DataError as error:
            refused += "b.feather" in str(error)
    assert refused > 100


def test_sizes_are_compared_before_anything_is_unpacked(tmp_path, monkeypatch):
    big = write(tmp_path / "big.feather", "zstd", x=np.zeros(2000, np.float64), laser=np.zeros(2000, np.int64))
    monkeypatch.setattr("cosmos_lidar.bounds.LARGEST_ITEM", 30_000)
    assert big.stat().st_size < 30_000
    unpacked = []
    monkeypatch.setattr(arrow.ipc, "open_stream", lambda stream: unpacked.append(stream))
    with pytest.raises(DataError, match="its columns would take .* KB.*big.feather.*at most 30.0 KB"):
        read_feather(big, COLUMNS)
    assert unpacked == []
    monkeypatch.undo()
    monkeypatch.setenv(ENVIRONMENT, "2GB")
    assert len(read_feather(big, COLUMNS)["x"]) == 2000
