"""What counts as an unusable sample, of how many, and that the counts survive a resume."""

from __future__ import annotations

import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar import files
from cosmos_lidar.errors import DataError
from energon_tasks.skips import SkipReport
from tests.energon_tasks import mixes
from tests.energon_tasks.test_latents import loader, write


def handle(report: SkipReport, *keys: str) -> None:
    for key in keys:
        report.handle(ValueError("not readable"), {"__key__": key})


def test_a_sample_that_is_met_again_counts_once() -> None:
    report = SkipReport(0.001, expected=4000)  # four samples
    for _ in range(9):  # epochs, or validations
        handle(report, "a", "b", "c", "d")
    assert report.bad == 4
    with pytest.raises(DataError, match="5 samples cannot be used, of 4000"):
        handle(report, "e")


def test_samples_without_a_key_count_each_time() -> None:
    report = SkipReport(1.0, expected=10)
    for _ in range(3):
        report.handle(ValueError("not readable"), None)
    assert report.bad == 3


def test_a_killed_run_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    report = SkipReport(budget=1.0, expected=10)
    report.handle(ValueError("broken"), {"__key__": "a"})
    assert [row["key"] for row in report.problems()] == ["a"]
    assert list(tmp_path.iterdir()) == []


def test_a_list_that_cannot_be_written_does_not_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    report = SkipReport(0.5, expected=4)
    monkeypatch.setattr(files.os, "write", full)
    handle(report, "a", "a", "b")
    assert report.bad == 2
    with pytest.raises(DataError, match="3 samples cannot be used.*not readable"):
        handle(report, "c")


@pytest.mark.parametrize("kind", mixes.KINDS)
def test_the_budget_is_a_share_of_the_samples_of_all_ranks(kind: str, tmp_path: Path) -> None:
    folder = mixes.write(kind, tmp_path / "set", "a", 4)
    for rank in (0, 1):
        opened = mixes.open_loader(kind, folder, rank=rank, world_size=2)
        assert opened.skip_report.expected == 4


@pytest.mark.parametrize("workers", [0, 1])
def test_counts_survive_a_resume(workers: int, tmp_path: Path) -> None:
    folder = write(tmp_path / "shards", latent_npy=b"nothing")
    options: dict[str, Any] = {"bad_sample_budget": 0.2, "num_workers": workers}
    first = loader(folder, **options)
    list(islice(first, 8))
    state, report = first.save_state_rank(), first.skip_report
    assert report.bad == 1
    second = loader(folder, **options)
    second.restore_state_rank(state)
    assert second.skip_report.problems() == report.problems()
    assert second.skip_report.bad == 1
    list(islice(second, 8))
    assert second.skip_report.bad == 1  # the same sample, met again
    assert second.skip_report.seen > 0
