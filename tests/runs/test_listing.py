"""Names, rows and durations; the command's test covers tables, CSV and JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from cosmos_lidar.runs.listing import duration, run_names, to_json, to_row
from cosmos_lidar.runs.reading import read_run


def test_names_are_as_short_as_possible() -> None:
    assert run_names([Path("runs/p/dit/a"), Path("runs/p/dit/b"), Path("runs/p/also/b")]) == [
        "dit/a",
        "dit/b",
        "also/b",
    ]
    assert run_names([Path("runs/p/dit/a")]) == ["a"]
    assert run_names([Path("runs/a"), Path("runs/a/b")]) == ["a", "b"]


@pytest.mark.parametrize(("seconds", "text"), [(None, ""), (59.6, "00:01:00"), (90_061.0, "1 d 01:01:01")])
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_a_row_shortens_the_path_of_data_and_json_has_it_whole(make_run: Callable[..., Path]) -> None:
    path = "/very/long/path/of/the/shards/of/a/data/set"
    run = read_run(make_run("one", data__path=path, optim__lr=math.inf), "one")
    assert to_row(run)[-1] == "…/data/set"
    (document,) = json.loads(to_json(Path("runs"), [run], []))["runs"]
    assert document["data"] == path
    assert document["options"]["optim.lr"] == "inf"
