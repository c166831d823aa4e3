"""Options that differ, family by family."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cosmos_lidar.runs.differences import differences
from cosmos_lidar.runs.reading import read_run


def test_only_what_differs_within_a_family(make_run: Callable[..., Path]) -> None:
    folders = [
        make_run("a", optim__lr=0.1),
        make_run("b", optim__lr=0.2, optim__new=True, recipe="other"),
        make_run("c", family="multiview", data__path="elsewhere"),
    ]
    (make_run("d") / "config.yaml").unlink()
    runs = [read_run(folder, folder.name) for folder in [*folders, folders[0].parent / "d"]]
    assert differences(runs) == {"dit": {"optim.lr": {"a": 0.1, "b": 0.2}, "optim.new": {"b": True}}}
