from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cosmos_lidar import files
from cosmos_lidar.training import metrics_file
from cosmos_lidar.training.metrics_file import MetricsFile, read_metrics

COLUMNS = ("step", "loss")


def rows(path: Path) -> list[tuple[str, str]]:
    return [(row["step"], row["loss"]) for row in read_metrics(path)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_rows_wait_for_the_disk(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = MetricsFile(tmp_path / "metrics.csv", COLUMNS)
    file.drop_after(0)
    file.append({"step": 1, "loss": 0.1})
    write = os.write

    def full(handle: int, content: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "write", full)
    file.append({"step": 2, "loss": 0.2})
    file.append({"step": 3, "loss": 0.3})
    assert rows(file.path) == [("1", "0.1")]
    assert len(caplog.records) == 1  # not one for each row
    assert os.strerror(number) in caplog.text
    monkeypatch.setattr(files.os, "write", write)
    file.append({"step": 4, "loss": 0.4})
    assert rows(file.path) == [("1", "0.1"), ("2", "0.2"), ("3", "0.3"), ("4", "0.4")]


def test_rows_that_are_to_be_dropped_are_dropped_as_soon_as_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = MetricsFile(tmp_path / "metrics.csv", COLUMNS)
    file.drop_after(0)
    for step in (1, 2, 3):
        file.append({"step": step, "loss": step})

    def full(*values: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(metrics_file, "atomic_write", full)
        file.drop_after(1)
        file.append({"step": 2, "loss": 20})
        assert rows(file.path) == [("1", "1"), ("2", "2"), ("3", "3")]
    file.append({"step": 3, "loss": 30})
    assert rows(file.path) == [("1", "1"), ("2", "20"), ("3", "30")]


def test_a_value_without_a_column_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="other"):
        MetricsFile(tmp_path / "metrics.csv", COLUMNS).append({"step": 1, "other": 2})
