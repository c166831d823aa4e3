from __future__ import annotations

from pathlib import Path

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.recipes import dit
from cosmos_lidar.training.run_folder import (
    is_used,
    move_branch_aside,
    move_run_aside,
    options_at,
    published_checkpoint,
    refuse_published,
    run_folder,
)
from tests.training.debug_runs import small


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = small(tmp_path)
    assert run_folder(run) == tmp_path / "posttraining" / "diffusion" / "debug"
    run.log.root, run.log.group, run.log.name = "", "", ""
    monkeypatch.setenv("OUTPUT_ROOT", "/runs")
    assert run_folder(run) == Path("/runs/posttraining/dit/debug")


def test_a_run_is_moved_aside_whole_and_nothing_else(tmp_path: Path) -> None:
    run = dit.debug()
    assert move_run_aside(run, tmp_path) is None
    make(tmp_path, "config.yaml", "synthetic/a.tar", "checkpoints/config.yaml", "checkpoints/.iter_000000003.part/x")
    assert not is_used(tmp_path)
    assert move_run_aside(run, tmp_path) is None  # killed before there was anything
    written = {
        "checkpoints/iter_000000004/a",
        "checkpoints/iter_000000004.pt",
        "dumps/d",
        "config_until_000000002.yaml",
    }
    make(tmp_path, *written, "notes.txt", ".owner/000001.json")
    before = names(tmp_path)
    assert move_run_aside(run, tmp_path) == tmp_path / "aside" / "001"
    assert names(tmp_path / "aside" / "001") == before - {"notes.txt", ".owner/000001.json"}
    (tmp_path / "metrics.csv").write_text("step,loss\n")
    assert move_run_aside(run, tmp_path) is None
    (tmp_path / "metrics.csv").write_text("step,loss\n1,2.0\n")
    assert move_run_aside(run, tmp_path) == tmp_path / "aside" / "002"


def test_a_run_that_the_new_one_reads_is_not_moved(tmp_path: Path) -> None:
    make(tmp_path, "checkpoints/iter_000000004.pt")
    run = dit.debug()
    run.model.checkpoint = str(tmp_path / "checkpoints" / "iter_000000004.pt")
    with pytest.raises(UserError, match=r"model.checkpoint=.*iter_000000004.pt lies in .*another log.name"):
        move_run_aside(run, tmp_path)
    assert (tmp_path / "checkpoints" / "iter_000000004.pt").is_file()


def test_later_steps_are_moved_aside_with_the_log_of_that_branch(tmp_path: Path) -> None:
    stays = {"checkpoints/iter_000000004/a", "checkpoints/iter_000000004.pt", "checkpoints/config.yaml", "metrics.csv"}
    goes = {
        "checkpoints/iter_000000006/a",
        "checkpoints/iter_000000006_ema_model.pt",
        "checkpoints/.iter_000000006.old/a",
    }
    make(tmp_path, *stays, *goes)
    goes.add("config_until_000000005.yaml")
    stays.add("config_until_000000003.yaml")
    make(tmp_path, "config_until_000000005.yaml", "config_until_000000003.yaml", "config.yaml")
    assert [options_at(tmp_path, step).name[:22] for step in (3, 4, 5, 6)] == [
        "config_until_000000003", "config_until_000000005", "config_until_000000005", "config.yaml",
    ]  # fmt: skip
    assert move_branch_aside(tmp_path, 6) is None
    assert move_branch_aside(tmp_path, 4) == tmp_path / "aside" / "001"
    assert names(tmp_path / "aside" / "001") == goes | {"metrics.csv", "config.yaml"}
    assert stays <= names(tmp_path)
    assert not goes & names(tmp_path)


@pytest.mark.parametrize(
    ("files", "pointer", "newest"),
    [
        (
            ["iter_000000100.pt", "iter_000000500.pt", "iter_000000500_enc.jit"],
            "iter_000000500.pt",
            "iter_000000500.pt",
        ),
        (["iter_000000100.pt"], "iter_000000200.pt", "iter_000000100.pt"),  # the pointer moved first
        (["iter_000000100.pt"], "", "iter_000000100.pt"),
        (
            [
                "iter_000000007_reg_model.pt",
                "iter_000000007_ema_model.pt",
                "iter_000000007_optim.pt",
                "iter_000000007.pt",
            ],
            "iter_000000007.pt",
            "iter_000000007_reg_model.pt",
        ),
        (["model/iter_000000500.pt", "optim/iter_000000500.pt"], "iter_000000500.pt", "model/iter_000000500.pt"),
        (["iter_000000500/model/.metadata", "iter_000000500/optim/.metadata"], "iter_000000500", "iter_000000500"),
        (["config.yaml", "iter_000000100.pt"], "iter_000000100.pt", "iter_000000100.pt"),  # both trainers wrote here
    ],
)
def test_a_run_of_the_published_trainer_is_refused(files: list[str], pointer: str, newest: str, tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    make(checkpoints, *files)
    if pointer:
        (checkpoints / "latest_checkpoint.txt").write_text(pointer + "\n")
    before = names(tmp_path)
    assert published_checkpoint(checkpoints) == checkpoints / newest
    with pytest.raises(UserError, match="is a run of the published trainer") as error:
        refuse_published(dit.debug(), tmp_path)
    start = f"model.checkpoint={checkpoints / newest} and another log.name"
    assert (start in str(error.value)) == newest.endswith(".pt")
    assert names(tmp_path) == before


@pytest.mark.parametrize(
    "files",
    [
        [],
        ["iter_000000100/manifest.json", "iter_000000100.pt"],
        ["config.yaml", "iter_000000100.pt"],
        ["config.yaml", "iter_000000100_reg_model.pt", "iter_000000100/.metadata"],
    ],
)
def test_runs_of_our_own_are_not_taken_for_theirs(files: list[str], tmp_path: Path) -> None:
    make(tmp_path / "checkpoints", *files)
    assert published_checkpoint(tmp_path / "checkpoints") is None
    (tmp_path / "checkpoints").mkdir(exist_ok=True)
    if files:
        (tmp_path / "checkpoints" / "latest_checkpoint.txt").write_text("iter_000000100\n")  # of our earlier versions
        assert published_checkpoint(tmp_path / "checkpoints") is None
    refuse_published(dit.debug(), tmp_path)
