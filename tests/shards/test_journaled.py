"""Shards of independent items: resumed byte for byte, in any number of processes, with a budget for what fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

pytest.importorskip("megatron.energon")

from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.journaled import Item, Kind, shard_plan, write_journaled
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.sweeps import PackedRun

KIND = Kind("thing", "things", "things.journal.jsonl", "things.json")


def pack(number: int, calls: Path) -> PackedRun:
    with calls.open("a") as file:
        file.write(f"{number}\n")
    if number == 3:
        raise DataError("broken", key="3")
    return PackedRun(f"thing{number}", {"json": json.dumps(number).encode()}, 1, 0)


def write(
    folder: Path, calls: Path, kind: Kind = KIND, state: str = "", wrap: Callable = lambda f: f, **options: object
):
    items = [Item(f"thing{n}", Path(str(n)), wrap(partial(pack, n, calls)), state=state) for n in range(7)]
    plan = shard_plan(
        {"train": [("", item) for item in items[:5]], "val": [("", item) for item in items[5:]]},
        PrepareOptions(samples_per_shard=2),
    )
    return write_journaled(plan, folder, kind, "plan", **{"bad_budget": 0.5} | options)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.tar")}


def test_what_fails_is_reported_and_the_rest_is_written(tmp_path: Path):
    records = write(tmp_path / "a", tmp_path / "calls")
    assert [record.name for record in records] == ["train-000000.tar", "train-000001.tar", "train-000002.tar",
                                                   "val-000000.tar"]  # fmt: skip
    assert [record.samples for record in records] == [2, 1, 1, 2]
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    assert report["left_out"] == [{"thing": "thing3", "problem": "broken [key 3]"}]
    assert contents(tmp_path / "a").keys() == {record.name for record in records}
    with pytest.raises(DataError, match="1 things cannot be used; the last: broken"):
        write(tmp_path / "b", tmp_path / "calls", bad_budget=0.1)


def test_an_interrupted_run_resumes_with_the_first_unfinished_shard(tmp_path: Path):
    write(tmp_path / "whole", tmp_path / "calls")
    stop = []

    def interrupted(make: Callable) -> Callable:
        def run() -> PackedRun:
            stop.append(1)
            if len(stop) == 5:
                raise KeyboardInterrupt
            return make()

        return run

    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "cut", tmp_path / "calls", wrap=interrupted)
    (tmp_path / "calls").unlink()
    write(tmp_path / "cut", tmp_path / "calls")
    assert (tmp_path / "calls").read_text().split() == ["4", "5", "6"]
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_processes_write_the_same_files_and_changed_sources_are_written_again(tmp_path: Path):
    write(tmp_path / "one", tmp_path / "calls")
    write(tmp_path / "two", tmp_path / "calls", jobs=2, state="a")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    (tmp_path / "calls").unlink()
    write(tmp_path / "two", tmp_path / "calls", state="a")
    assert not (tmp_path / "calls").exists()
    write(tmp_path / "two", tmp_path / "calls", state="b")
    assert len((tmp_path / "calls").read_text().split()) == 7


def test_a_folder_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(DataError, match="the folder is not empty"):
        write(tmp_path / "full", tmp_path / "calls")
    with pytest.raises(DataError, match="no thing of the source can be used"):
        write_journaled({"train-000000.tar": [Item("3", Path("3"), partial(pack, 3, tmp_path / "calls"))]},
                        tmp_path / "none", KIND, "plan", 1.0)  # fmt: skip
