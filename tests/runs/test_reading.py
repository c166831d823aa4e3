"""What is read of a run folder, and that whatever is wrong with one is named and never raised."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cosmos_lidar.runs import reading
from cosmos_lidar.runs.reading import Best, printable, read_run
from cosmos_lidar.training.owner import this_process
from tests.runs.conftest import ENDED

Make = Callable[..., Path]


def test_a_whole_run(make_run: Make) -> None:
    run = read_run(make_run("one"), "one")
    assert (run.family, run.recipe, run.data, run.state, run.problems) == ("dit", "debug", "latents", "finished", [])
    assert run.progress == (30, 30, 30)
    assert run.best == {"val/loss": Best(1.0, 20), "val/psnr": Best(12.0, 20)}
    assert run.seconds == pytest.approx(30 * 2.0), "steps of 2 s"
    assert run.hardware == "4 ranks, NVIDIA H200, host gpu12"
    assert run.series["loss"].steps.tolist() == [10, 20, 30]
    assert run.series["val/loss"].values.tolist() == [3.0, 1.0, 1.2]
    assert run.options["optim.betas"] == "[0.9, 0.99]"


def test_a_run_that_is_alive(make_run: Make) -> None:
    folder = make_run("one", saved=(), owner=this_process())
    assert read_run(folder, "one").state == "running"


def test_which_value_is_best_follows_the_options(make_run: Make) -> None:
    run = read_run(make_run("one", trainer__best_metric="-val/loss"), "one")
    assert run.best["val/loss"] == Best(3.0, 0)
    run = read_run(make_run("two", trainer__best_metric="-val/psnr"), "two")
    assert next(iter(run.best)) == "val/psnr"


def test_a_folder_of_an_earlier_version(make_run: Make) -> None:
    folder = make_run("one", owner=None, model={"lora": {"also_trained": ["norm"]}}, family=None)
    (folder / "metrics.csv").write_text("step,loss\n10,2.0\n20,1.0\n")
    run = read_run(folder, "one")
    assert run.options["model.lora.modules_to_save"] == "['norm']", "by today's name"
    assert (run.state, run.seconds, run.ranks, run.best) == ("finished", None, 2, {})
    assert "names no family" in run.problems[0]


BROKEN = {
    "no config": ("config.yaml", None, "config.yaml: missing"),
    "empty config": ("config.yaml", b"", "no mapping"),
    "objects in the config": ("config.yaml", b"a: !!python/object/apply:os.system ['false']", "config.yaml: "),
    "aliases": ("config.yaml", b"a: &a [" + b"1," * 99 + b"]\n" + b"".join(
        b"%c: &%c [%s]\n" % (n, n, (b"*%c," % (n - 1)) * 99) for n in b"bcdef"), "config.yaml: "),
    "huge config": ("config.yaml", b"a: 1\n#" + b"x" * (1 << 20), "config.yaml: "),
    "binary config": ("config.yaml", b"\xff\xfe\x00", "config.yaml: "),
    "no log": ("metrics.csv", None, "metrics.csv: missing"),
    "header only": ("metrics.csv", b"step,loss\n", "no row yet"),
    "empty log": ("metrics.csv", b"", "no row yet"),
    "binary log": ("metrics.csv", b"step,loss\n1,\xff\n", "metrics.csv: "),
    "cut log": ("metrics.csv", b"step,loss\n10,1.0\n20,1.", "cut short"),
    "text in the log": ("metrics.csv", b"step,loss\n10,1.0\n20,what\n\xc2\xb2,3\n", "no numbers in loss"),
    "surplus fields": ("metrics.csv", b"step,loss\n10,1.0,5,6\n20\n", ""),
    "manifest cut": ("checkpoints/iter_000000030/manifest.json", b'{"ver', "manifest.sha256"),
    "manifest gone": ("checkpoints/iter_000000030/manifest.json", None, "iter_000000030: missing"),
    "owner cut": (".owner/000002.json", b'{"token": "1"', ""),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_named(make_run: Make, case: str) -> None:
    name, content, problem = BROKEN[case]
    folder = make_run("one")
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    run = read_run(folder, "one")
    assert problem in "\n".join(run.problems)
    assert run.progress.saved == 30, "the rest is read"


def test_fifos_and_large_logs_are_refused(make_run: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run("one")
    monkeypatch.setattr(reading, "LARGEST_LOG", 50)
    assert "largest-item" in read_run(folder, "one").problems[0]
    for name in ("metrics.csv", "config.yaml", ".owner/000002.json"):
        (folder / name).unlink()
        os.mkfifo(folder / name)
    run = read_run(folder, "one")
    assert [text.partition(":")[0] for text in run.problems] == ["config.yaml", "metrics.csv"]


def test_text_of_files_does_not_control_a_terminal(make_run: Make) -> None:
    folder = make_run("one", recipe="\x1b[2Jgone", owner=replace(ENDED, host="\x1b]0;x\x07"))
    run = read_run(folder, "na\nme")
    assert all(text.isprintable() for text in (run.name, run.recipe, run.hardware, *map(str, run.options.values())))
    assert len(printable("x" * 1000)) == 200


def test_runs_of_the_published_trainer_and_earlier_parts_are_noted(make_run: Make) -> None:
    folder = make_run("one", owner=None)
    (folder / "checkpoints" / "latest_checkpoint.txt").write_text("iter_000000100.pt")
    (folder / "aside" / "001").mkdir(parents=True)
    problems = "\n".join(read_run(folder, "one").problems)
    assert "published trainer" in problems
    assert "1 earlier parts or runs are in aside/" in problems
