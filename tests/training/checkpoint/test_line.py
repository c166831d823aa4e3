"""Which checkpoints are kept and which one is resumed from, whatever else lies in the folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cosmos_lidar.errors import DataError
from cosmos_lidar.training.checkpoint.line import (
    POINTER,
    GoodOnes,
    newest_of_line,
    read_pointer,
    write_pointer,
    written_in,
)
from cosmos_lidar.training.checkpoint.manifest import checkpoint_path, checkpoint_step, new_run
from cosmos_lidar.training.checkpoint.store import CheckpointStore
from tests.training.checkpoint.saving import save


def damage(path: Path) -> None:
    """Change one byte, as a disk does: sizes and the manifest stay."""
    content = bytearray((path / "state.pt").read_bytes())
    content[100] ^= 1
    (path / "state.pt").write_bytes(content)


def steps(folder: Path) -> list[int]:
    return sorted(checkpoint_step(path) for path in folder.glob("iter_*") if path.is_dir())


def foreign(folder: Path, step: int) -> Path:
    """Copy a good checkpoint of another run into a folder."""
    other = save(CheckpointStore(folder / "elsewhere", run=new_run()), step)
    return Path(shutil.copytree(other, checkpoint_path(folder, step)))


def test_damaged_and_foreign_ones_neither_count_nor_shield(tmp_path: Path) -> None:
    run = new_run()
    before = CheckpointStore(tmp_path, keep_last=0, run=run)
    for step in (10, 20, 30):
        save(before, step)
    foreign(tmp_path, 90)
    damage(save(before, 40))
    resumed = CheckpointStore(tmp_path, keep_last=2, run=run)  # another process: it has seen nothing yet
    save(resumed, 32)
    assert steps(tmp_path) == [30, 32, 40, 90]  # 40 is damaged, 90 is not ours: the two good ones of ours are kept
    save(resumed, 34)
    assert steps(tmp_path) == [32, 34, 90]
    assert newest_of_line(tmp_path, print) == checkpoint_path(tmp_path, 34)


def test_the_last_good_one_is_never_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_run()
    store = CheckpointStore(tmp_path, keep_last=1, run=run)
    save(store, 1)
    path = save(store, 2)
    assert steps(tmp_path) == [2]
    for step in (3, 4):
        damage(save(CheckpointStore(tmp_path, keep_last=0, run=run), step))
    again = CheckpointStore(tmp_path, keep_last=1, run=run)
    prune = again._prune

    def cut_short() -> None:  # what is written is damaged on the way
        (checkpoint_path(tmp_path, 5) / "state.pt").write_bytes(b"")
        prune()

    monkeypatch.setattr(again, "_prune", cut_short)
    save(again, 5)
    assert newest_of_line(tmp_path, print) == path


def test_pruning_goes_by_the_order_of_writing(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep_last=2, run=new_run())
    for step in (30, 40, 22, 24):  # a roll-back in mid-run writes lower steps later
        save(store, step)
    assert steps(tmp_path) == [22, 24]
    assert [one.order for one in written_in(tmp_path, print)] == [4, 3]


def test_the_best_ones_are_good_ones(tmp_path: Path) -> None:
    run = new_run()
    store = CheckpointStore(tmp_path, keep_last=0, run=run)
    for step, loss in enumerate((0.3, 0.1, 0.2, 0.5, 0.6), start=1):
        save(store, step, **{"val/loss": loss})
    damage(checkpoint_path(tmp_path, 2))
    save(CheckpointStore(tmp_path, keep_last=1, keep_best=1, best_metric="val/loss", run=run), 6)
    assert steps(tmp_path) == [3, 6]


def test_one_of_another_run_is_not_written_over(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    theirs = (foreign(folder, 5) / "manifest.json").read_text()
    store = CheckpointStore(folder, keep_last=1, run=new_run())
    save(store, 5)
    assert (tmp_path / "aside" / "001" / "iter_000000005" / "manifest.json").read_text() == theirs
    damage(checkpoint_path(folder, 5))
    save(store, 5)  # our own is
    assert not (tmp_path / "aside" / "002").exists()


def test_the_run_that_wrote_last_is_followed(tmp_path: Path) -> None:
    told: list[str] = []
    assert newest_of_line(tmp_path, told.append) is None
    foreign(tmp_path, 90)
    assert newest_of_line(tmp_path, told.append) == checkpoint_path(tmp_path, 90)  # without a pointer the highest step
    store = CheckpointStore(tmp_path, run=new_run())
    paths = [save(store, step) for step in (40, 20, 22)]
    assert newest_of_line(tmp_path, told.append) == paths[-1]
    assert not told
    damage(paths[-1])
    assert newest_of_line(tmp_path, told.append) == paths[1]
    assert "iter_000000022 is skipped" in told[0]


def test_nothing_but_damaged_ones_is_an_error(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, run=new_run())
    damage(save(store, 1))
    (save(store, 2) / "manifest.json").write_text("{")
    other = foreign(tmp_path, 90)
    with pytest.raises(DataError, match="no checkpoint that could be resumed from") as error:
        newest_of_line(tmp_path, lambda text: None)
    for name in ("iter_000000001/state.pt", "iter_000000002/manifest.json", f"trainer.resume={other}", "=none"):
        assert name in str(error.value)


def test_the_pointer_leaves_the_name_of_the_published_one_alone(tmp_path: Path) -> None:
    path = save(CheckpointStore(tmp_path), 3)
    published = tmp_path / "latest_checkpoint.txt"
    assert not published.exists()
    published.write_text("iter_000000003\n")  # as our earlier versions wrote it: a folder, which theirs cannot open
    write_pointer(path, 3, "line")
    assert not published.exists()
    assert json.loads((tmp_path / POINTER).read_text()) == {"name": "iter_000000003", "step": 3, "run": "line"}
    assert read_pointer(tmp_path) == "line"
    published.write_text("iter_000000100.pt\n")
    write_pointer(path, 3, "line")
    assert published.read_text() == "iter_000000100.pt\n"


def test_a_checkpoint_is_read_in_full_once(tmp_path: Path) -> None:
    store, good = CheckpointStore(tmp_path), GoodOnes()
    path = save(store, 1)
    assert good(path)
    damage(path)
    assert good(path)  # sizes alone
    assert not GoodOnes()(path)
    (path / "state.pt").write_bytes(b"")
    assert not good(path)
    save(store, 1)
    assert good(path)
