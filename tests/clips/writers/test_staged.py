"""Files and folders get their names together, or everything stays as it was."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cosmos_lidar.clips.writers._staged import Staged, remove_leftovers
from cosmos_lidar.errors import DataError


def content(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


def fill(staged: Staged, text: str) -> None:
    staged.file("a/one.txt").write_text(text)
    (staged.folder("two") / "inner.txt").write_text(text)
    staged.file("three.txt").write_text(text)


def test_nothing_is_seen_before_the_end(tmp_path) -> None:
    with Staged(tmp_path) as staged:
        fill(staged, "new")
        assert all(name.split("/")[-1].startswith(".") or "/." in f"/{name}" for name in content(tmp_path))
        assert staged.files == ("a/one.txt", "two/inner.txt", "three.txt")
    assert content(tmp_path) == {"a/one.txt": "new", "two/inner.txt": "new", "three.txt": "new"}


def test_what_was_there_is_replaced_completely(tmp_path) -> None:
    with Staged(tmp_path) as staged:
        fill(staged, "old")
        (staged.folder("more") / "kept.txt").write_text("old")
    (tmp_path / "two" / "extra.txt").write_text("of before")
    with Staged(tmp_path) as staged:
        fill(staged, "new")
    assert content(tmp_path) == {
        "a/one.txt": "new", "more/kept.txt": "old", "three.txt": "new", "two/inner.txt": "new",
    }  # fmt: skip


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_the_block_leaves_all_as_it_was(tmp_path, error) -> None:
    with Staged(tmp_path) as staged:
        fill(staged, "old")

    def interrupted() -> None:
        with Staged(tmp_path) as staged:
            fill(staged, "new")
            raise error

    with pytest.raises(error):
        interrupted()
    assert set(content(tmp_path).values()) == {"old"}


@pytest.mark.parametrize("at", range(1, 6))
def test_an_interruption_while_names_are_given_is_undone(tmp_path, monkeypatch, at) -> None:
    with Staged(tmp_path) as staged:
        fill(staged, "old")
    before, replace, calls = content(tmp_path), os.replace, []

    def interrupted(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == at:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), Staged(tmp_path) as staged:
        fill(staged, "new")
    assert content(tmp_path) == before


def test_a_full_disk_is_a_data_error(tmp_path) -> None:
    def write() -> None:
        with Staged(tmp_path, "seven") as staged:
            staged.file("a.txt").write_text("part")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DataError, match="cannot be written: No space left.*clip seven.*room"):
        write()
    assert content(tmp_path) == {}


def test_leftovers_of_killed_processes_are_removed_and_nothing_else(tmp_path) -> None:
    kept = [tmp_path / name for name in (".hidden", "a.part-01234567", "sub/.x.tar.part-0123456")]
    gone = [tmp_path / name for name in (".a.ply.part-01234567", "sub/.clip.old-89abcdef/in.txt", ".c.part-0a0a0a0a/x")]
    for path in (*kept, *gone):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    remove_leftovers(tmp_path)
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path in gone)
