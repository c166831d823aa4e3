"""Sizes that files promise, the limits, and how they are raised."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cosmos_lidar.bounds import (
    ENVIRONMENT,
    LARGEST_ITEM,
    describe_size,
    expect_plain_file,
    expect_size,
    largest_item,
    parse_size,
    read_file,
)
from cosmos_lidar.cli import main
from cosmos_lidar.errors import DataError, UserError


def test_a_size_above_the_limit_is_refused_with_both_sizes_and_the_option() -> None:
    expect_size(LARGEST_ITEM, "an array")
    with pytest.raises(
        DataError, match=r"an array would take 2\.0 TB \[file f, clip c, key k\] Expected: at most 1\.1 GB"
    ):
        expect_size(2 * 10**12, "an array", file="f", clip="c", key="k")
    with pytest.raises(DataError, match=r"at most 100 B; `cosmos-lidar --largest-item 220B …` or COSMOS_LIDAR_LARGEST"):
        expect_size(200, "an array", limit=100)


def test_what_the_message_advises_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (200, 5_432, 6_449_999_999, 2 * 10**12):
        with pytest.raises(DataError) as found:
            expect_size(size, "an array", limit=100)
        advised = str(found.value).partition("--largest-item ")[2].partition(" ")[0]
        with monkeypatch.context() as patch:
            patch.setenv(ENVIRONMENT, advised)
            expect_size(size, "an array", limit=100)


def test_the_option_raises_limits_and_does_not_lower_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, "5KB")
    assert largest_item(100) == 5000
    assert largest_item() == LARGEST_ITEM


def test_the_command_line_sets_it_for_all_processes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv(ENVIRONMENT, "1B")
    assert main(["--largest-item", "8GB", "check", "/nowhere"]) == 2
    assert os.environ[ENVIRONMENT] == "8GB"
    assert main(["--largest-item", "much", "check", "/nowhere"]) == 2
    assert "'much': expected a size such as 8GB" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "size"), [("8GB", 8 * 10**9), ("1.5 kb", 1500), ("7", 7), ("2T", 2 * 10**12), ("3B", 3), ("4M", 4 * 10**6)]
)
def test_sizes_are_parsed(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "1 XB", "1e9", "inf"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="expected a size"):
        parse_size(text)


def test_sizes_are_described() -> None:
    found = [describe_size(size) for size in (0, 999, 1000, 999_960, 10**9, 2 * 10**12)]
    assert found == ["0 B", "999 B", "1.0 KB", "1.0 MB", "1.0 GB", "2.0 TB"]


def test_devices_and_fifos_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("fifo", "zero"):
        with pytest.raises(DataError, match="no plain file"):
            read_file(tmp_path / name, "a file of points")
    expect_plain_file(tmp_path / "absent")
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "absent", "a file of points")


def test_a_sparse_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "points.bin").open("wb") as file:
        file.truncate(2 * 10**12)
    with pytest.raises(DataError, match=r"a file of points would take 2\.0 TB"):
        read_file(tmp_path / "points.bin", "a file of points")
