"""Which folders are runs: half-written ones too, files of other commands not; bounded, and without circles."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.runs.finding import find_runs

Make = Callable[..., Path]


def test_runs_are_found_and_other_folders_are_not(tmp_path: Path, make_run: Make) -> None:
    first, second = make_run("a/one"), make_run("b/two", owner=None)
    for name in ("generated", "hydra", "begun/.owner", "b/two/aside/001/checkpoints", ".trash/checkpoints"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs" / "generated" / "metrics.csv").write_text("frame,rmse_m\n1,2\n")
    for name in ("hydra", "b/two/aside/001", ".trash"):
        (tmp_path / "runs" / name / "config.yaml").write_text("family: dit\n")
    found = find_runs(tmp_path / "runs")
    assert found.folders == [first, second, tmp_path / "runs" / "begun"]
    assert found.problems == []
    assert find_runs(first).folders == [first]


def test_links_are_followed_once(tmp_path: Path, make_run: Make) -> None:
    run = make_run("one")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "link").symlink_to(run)
    (tmp_path / "elsewhere" / "circle").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "again").symlink_to(run)
    assert find_runs(tmp_path / "elsewhere").folders == [tmp_path / "elsewhere" / "again"]


def test_searches_are_bounded(tmp_path: Path, make_run: Make) -> None:
    for name in "abc":
        make_run(name, saved=(), owner=None)
    found = find_runs(tmp_path / "runs", most_runs=2)
    assert [folder.name for folder in found.folders] == ["a", "b"]
    assert "more than 2 runs" in found.problems[0]
    assert "more than 3 folders" in find_runs(tmp_path / "runs", most_folders=3).problems[0]
    with pytest.raises(DataError, match="no such folder"):
        find_runs(tmp_path / "nowhere")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list every folder")
def test_a_closed_folder_is_named(tmp_path: Path, make_run: Make) -> None:
    make_run("a")
    (tmp_path / "runs" / "closed").mkdir(mode=0)
    assert "closed" in find_runs(tmp_path / "runs").problems[0]
