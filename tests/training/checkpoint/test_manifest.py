from __future__ import annotations

import random
from pathlib import Path

import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.training.checkpoint.manifest import newest_good, read_manifest, verify
from cosmos_lidar.training.checkpoint.store import CheckpointStore
from tests.training.checkpoint.saving import save


def test_any_flipped_byte_is_found_and_the_file_named(tmp_path: Path) -> None:
    path = save(CheckpointStore(tmp_path), 1)
    rng = random.Random(0)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    assert {file.name for file in files} >= {".metadata", "manifest.json", "manifest.sha256", "state.pt", "config.yaml"}
    for file in files:
        content = file.read_bytes()
        for place in {0, len(content) - 1, *(rng.randrange(len(content)) for _ in range(6))}:
            file.write_bytes(content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :])
            with pytest.raises(DataError) as error:
                verify(path)
            named = "manifest.json" if file.name == "manifest.sha256" else file.name
            assert named in str(error.value)
        file.write_bytes(content[:-1])
        with pytest.raises(DataError, match="manifest.json" if "manifest" in file.name else file.name):
            verify(path)
        file.unlink()
        with pytest.raises(DataError, match=file.name):
            verify(path)
        file.write_bytes(content)
    verify(path)


def test_the_newest_good_one_is_taken_and_the_others_are_told_of(tmp_path: Path) -> None:
    store, told = CheckpointStore(tmp_path), []
    assert newest_good(tmp_path, told.append) is None
    paths = [save(store, step) for step in (1, 2, 3)]
    assert newest_good(tmp_path, told.append) == paths[2]
    assert newest_good(tmp_path, told.append, below=3) == paths[1]
    assert not told
    with (paths[2] / "state.pt").open("ab") as file:
        file.write(b"x")
    assert newest_good(tmp_path, told.append) == paths[1]
    assert "iter_000000003" in told[0]
    assert "state.pt" in told[0]


def test_a_folder_that_is_no_checkpoint_names_those_in_it(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no checkpoint of a run .*Expected: a folder iter_N in the checkpoints of a run"
    ):
        read_manifest(tmp_path)
    for step in (1, 2):
        newest = save(CheckpointStore(tmp_path / "checkpoints"), step)
    for folder in (tmp_path, tmp_path / "checkpoints"):  # a run, and its checkpoints
        with pytest.raises(DataError) as refused:
            read_manifest(folder)
        assert (refused.value.file, refused.value.wanted) == (folder, f"one of its checkpoints, such as {newest}")
    (newest / "manifest.json").unlink()  # of a checkpoint that is damaged
    with pytest.raises(DataError, match=r"cannot be read: .*manifest.json"):
        read_manifest(newest)


def test_a_manifest_of_another_folder_is_refused(tmp_path: Path) -> None:
    path = save(CheckpointStore(tmp_path), 1)
    (path / "manifest.sha256").write_text("0" * 64 + "\n")
    with pytest.raises(DataError, match=r"does not agree with manifest.sha256.*manifest.json"):
        read_manifest(path)
