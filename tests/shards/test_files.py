"""Tars that are whole or not there, the journal of finished ones, and which of these are stale."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.shards.files import Journal, ShardRecord, drop_changed, write_tar, write_text
from cosmos_lidar.shards.sweeps import BadFrame, PackedRun

SAMPLES = [PackedRun("a_0", {"x.bin": b"123", "meta.json": b"{}"}, 1, 0), PackedRun("a_1", {"x.bin": b""}, 1, 0)]


def record(name: str, **changed: object) -> ShardRecord:
    return replace(ShardRecord(name, "train", 3, "0" * 64, 1, 1, {"a": 1}, sources="now"), **changed)


def test_a_tar_holds_the_samples_and_nothing_of_this_machine(tmp_path: Path) -> None:
    size, digest = write_tar(tmp_path / "one.tar", SAMPLES)
    assert (tmp_path / "one.tar").stat().st_size == size
    assert hashlib.sha256((tmp_path / "one.tar").read_bytes()).hexdigest() == digest
    with tarfile.open(tmp_path / "one.tar") as tar:
        members = tar.getmembers()
        assert [member.name for member in members] == ["a_0.x.bin", "a_0.meta.json", "a_1.x.bin"]
        assert tar.extractfile(members[0]).read() == b"123"
    assert {(member.mtime, member.uid, member.gid, member.uname) for member in members} == {(0, 0, 0, "")}
    assert write_tar(tmp_path / "two.tar", SAMPLES) == (size, digest)


def test_an_interrupted_tar_is_not_there(tmp_path: Path) -> None:
    def samples() -> Iterator[PackedRun]:
        yield SAMPLES[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_tar(tmp_path / "one.tar", samples())
    assert not (tmp_path / "one.tar").exists()


def test_a_text_replaces_the_one_before(tmp_path: Path) -> None:
    write_text(tmp_path / "a.json", "1")
    write_text(tmp_path / "a.json", "2")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "2"
    with pytest.raises(DataError, match="cannot write: .*free space and the right to write there"):
        write_text(tmp_path / "a.json" / "b.json", "3")


def test_a_journal_resumes(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "x.journal.jsonl", "plan")
    kept = record("train-000000.tar", bad_frames=[BadFrame("a", "7", "cut")])
    journal.add(kept)
    journal.add(record("train-000001.tar"))
    journal.add(record("train-000001.tar", bytes=9))  # written again
    found = Journal(tmp_path / "x.journal.jsonl", "plan").finished
    assert found == {"train-000000.tar": kept, "train-000001.tar": record("train-000001.tar", bytes=9)}


def test_a_line_that_was_cut_short_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "x.journal.jsonl"
    journal = Journal(path, "plan")
    journal.add(record("train-000000.tar"))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"name": "train-0000')
    assert list(Journal(path, "plan").finished) == ["train-000000.tar"]
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps({"plan": "other"}) + "\n", "shards of other clips or other options"),
        ("no journal\n", "not a journal"),
    ],
)
def test_other_journals_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.journal.jsonl").write_text(text)
    with pytest.raises(DataError, match=message):
        Journal(tmp_path / "x.journal.jsonl", "plan")


def test_damaged_and_changed_shards_are_dropped(tmp_path: Path, caplog) -> None:
    """With the document that marks a finished folder; what is as it was written is kept."""
    journal = Journal(tmp_path / "x.journal.jsonl", "plan")
    for name, content, sources in [("same", b"123", "now"), ("cut", b"1", "now"), ("changed", b"123", "before"),
                                   ("older", b"123", ""), ("empty", b"", "now"), ("gone", b"", "now")]:  # fmt: skip
        if content:
            (tmp_path / name).write_bytes(content)
        journal.add(record(name, bytes=0 if name == "empty" else 3, sources=sources))
    states = dict.fromkeys(journal.finished, "now")
    (tmp_path / "manifest.json").touch()
    drop_changed(tmp_path, journal, states, "manifest.json")
    assert list(journal.finished) == ["same", "older", "empty"]
    assert not (tmp_path / "manifest.json").exists()
    assert not (tmp_path / "changed").exists()
    assert "cut was changed or cut since it was written" in caplog.text
    assert f"the sources of {tmp_path / 'changed'} have changed" in caplog.text
    (tmp_path / "manifest.json").touch()
    drop_changed(tmp_path, journal, states, "manifest.json")
    assert (tmp_path / "manifest.json").exists()
