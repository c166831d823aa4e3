"""Parts of a dataset, written by separate jobs in any order and merged: the bytes of one job."""

from __future__ import annotations

import multiprocessing
from dataclasses import replace
from pathlib import Path

import pytest

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.shards.manifest import MANIFEST, read_manifest
from cosmos_lidar.shards.parts import PARTS, Part, remove_partial_of
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.shards.prepare import prepare_part, prepare_shards
from tests.shards.conftest import SENSOR, tiny_clip, tiny_sweep

OPTIONS = PrepareOptions(split=(0.6, 0.2, 0.2), samples_per_shard=3)


def tars(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.tar"))}


@pytest.fixture
def whole(clips: list[Clip], tmp_path: Path) -> Path:
    prepare_shards(clips, tmp_path / "whole", OPTIONS)
    return tmp_path / "whole"


@pytest.mark.parametrize("done", [(2, 0, 1), (1,), ()])
def test_merged_parts_are_the_files_of_one_job(done: tuple[int, ...], clips: list[Clip], whole: Path, tmp_path: Path):
    out = tmp_path / "out"
    written: list[str] = []
    for number in done:
        written += [record.name for record in prepare_part(clips, out, Part(number, 3), OPTIONS)]
        assert not (out / MANIFEST).exists()
    assert len(set(written)) == len(written)
    if len(done) == 3:
        assert set(written) == set(tars(whole))
    times = {name: (out / name).stat().st_mtime_ns for name in written}
    assert prepare_shards(clips, out, OPTIONS) == read_manifest(whole)
    assert tars(out) == tars(whole)
    assert times == {name: (out / name).stat().st_mtime_ns for name in written}  # none of them again
    assert not (out / PARTS).exists()
    assert prepare_part(clips, out, Part(0, 3), OPTIONS) == []


def test_jobs_at_the_same_time(clips: list[Clip], whole: Path, tmp_path: Path):
    fork = multiprocessing.get_context("fork")
    jobs = [fork.Process(target=prepare_part, args=(clips, tmp_path / "out", Part(k, 4), OPTIONS)) for k in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [job.exitcode for job in jobs] == [0] * 4
    prepare_shards(clips, tmp_path / "out", OPTIONS, resume=True)
    assert tars(tmp_path / "out") == tars(whole)


def test_a_part_resumes_and_writes_a_damaged_shard_again(clips: list[Clip], whole: Path, tmp_path: Path):
    out = tmp_path / "out"
    records = prepare_part(clips, out, Part(0, 2), OPTIONS)
    (out / records[0].name).write_bytes(b"cut")
    (out / f".{records[0].name}.0123456789ab.part").touch()
    (out / ".other.tar.0123456789ab.part").touch()  # another job is writing it
    assert prepare_part(clips, out, Part(0, 2), OPTIONS) == records
    assert tars(out).items() <= tars(whole).items()
    assert [path.name for path in out.glob(".*.part")] == [".other.tar.0123456789ab.part"]


def test_parts_of_other_options_are_not_merged(clips: list[Clip], tmp_path: Path):
    prepare_part(clips, tmp_path / "out", Part(0, 2), OPTIONS)
    with pytest.raises(DataError, match="this part holds shards of other clips or other options.*00000-of-00002"):
        prepare_shards(clips, tmp_path / "out", replace(OPTIONS, seed=1))
    with pytest.raises(DataError, match="shards of other clips or other options"):
        prepare_part(clips, tmp_path / "out", Part(0, 2), replace(OPTIONS, seed=1))


def test_a_folder_of_something_else_is_left_alone(clips: list[Clip], tmp_path: Path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match="the folder is not empty"):
        prepare_part(clips, tmp_path, Part(0, 2), OPTIONS)


def test_bad_frames_of_all_parts_count_together(tmp_path: Path):
    def read(index: int):
        if index % 10 == 3:
            raise DataError("not readable")
        return tiny_sweep(index)

    clips = [tiny_clip(name, 20) for name in "abcd"]
    clips = [clip.with_lidar(read=read) for clip in clips]
    options = PrepareOptions(split=(0.5, 0.5, 0.0), samples_per_shard=1, bad_budget=0.06)  # 4 of 80; there are 8
    for number in range(4):
        assert prepare_part(clips, tmp_path / "out", Part(number, 4), options)
    with pytest.raises(DataError, match="8 of 80 frames cannot be used"):
        prepare_shards(clips, tmp_path / "out", options)
    assert SENSOR.name


@pytest.mark.parametrize("text", ["3/3", "1", "-1/2", "a/b", "0/0", "1/2/3", "0/9999999999"])
def test_no_part(text: str):
    with pytest.raises(UserError, match=f"--part {text}: expected K/N"):
        Part.parse(text)


def test_every_shard_is_in_one_part():
    parts = [Part.parse(f"{k}/7") for k in range(7)]
    assert all(sum(part.holds(place) for part in parts) == 1 for place in range(100))


def test_only_partial_files_of_the_named_shards_go(tmp_path: Path):
    for name in (".train-000001.tar.abc.part", ".train-000002.tar.abc.part", "train-000001.tar"):
        (tmp_path / name).touch()
    remove_partial_of(tmp_path, ["train-000001.tar"])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".train-000002.tar.abc.part", "train-000001.tar"]
