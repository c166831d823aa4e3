"""How a run begins in a folder that was used before: real runs of debug recipes, and the decision alone."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.recipes import dit
from cosmos_lidar.training.checkpoint.manifest import checkpoint_step, seen_steps
from cosmos_lidar.training.checkpoint.reading import load_full, load_state
from cosmos_lidar.training.checkpoint.store import CheckpointStore
from cosmos_lidar.training.overrides import load_config, to_yaml
from cosmos_lidar.training.owner import RunOwner, this_process
from cosmos_lidar.training.resume import begin
from tests.training.checkpoint.saving import some_tensors
from tests.training.checkpoint.test_line import damage
from tests.training.debug_runs import FEW, small
from tests.training.test_engine import assert_same_end
from tests.workers.client import python, torchrun

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = "import sys; from cosmos_lidar.recipes import dit; sys.exit(dit.FAMILY.main())"
KILLED = """
import os, signal, sys
from cosmos_lidar.training.model import TrainedModel
train = TrainedModel.training_step
def step(self, batch, index):
    if self.global_step == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return train(self, batch, index)
TrainedModel.training_step = step
from cosmos_lidar.recipes import dit
sys.exit(dit.FAMILY.main())
"""


def written(folder: Path, *steps: int, run: Any = None, line: str = "a") -> list[Path]:
    """Write checkpoints of a few tensors, with the options of a run."""
    store = CheckpointStore(folder / "checkpoints", keep_last=0, run=line)
    paths = []
    for step in steps:
        texts = {"config.yaml": to_yaml(run or dit.debug())}
        store.save(step, some_tensors(step), {"step": step}, texts, {})
        outcome = store.wait()
        assert outcome is not None
        assert outcome.path is not None
        paths.append(outcome.path)
    return paths


def found(folder: Path) -> list[int]:
    return sorted(checkpoint_step(path) for path in (folder / "checkpoints").glob("iter_*") if path.is_dir())


def contents(folder: Path) -> dict[Path, bytes]:
    """Return all files of a run, without the record of its owner."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".owner" not in path.parts)
    return {path: path.read_bytes() for path in files}


def column(folder: Path, name: str) -> dict[int, str]:
    with (folder / "metrics.csv").open() as stream:
        return {int(row["step"]): row[name] for row in csv.DictReader(stream) if row[name]}


# --- where it begins


def test_a_run_from_an_older_step_puts_the_newer_branch_aside(tmp_path: Path) -> None:
    paths = written(tmp_path, 2, 4, 6)
    start = begin(small(tmp_path, f"trainer.resume={paths[0]}"), tmp_path)
    assert (start.checkpoint, start.step, start.line) == (paths[0], 2, "a")
    assert found(tmp_path) == [2]
    assert found(tmp_path / "aside" / "001") == [4, 6]
    written(tmp_path, 3)
    assert begin(small(tmp_path), tmp_path).step == 3
    # and back to the branch that was put aside: this one goes aside in turn
    back = tmp_path / "aside" / "001" / "checkpoints" / "iter_000000006"
    start = begin(small(tmp_path, f"trainer.resume={back}"), tmp_path)
    assert (start.checkpoint, start.step) == (back, 6)
    assert found(tmp_path / "aside" / "002") == [2, 3]
    assert start.line not in ("a", "")


def test_none_moves_the_run_aside_and_auto_goes_past_damaged_ones(tmp_path: Path) -> None:
    paths = written(tmp_path, 2, 4)
    damage(paths[1])
    assert begin(small(tmp_path), tmp_path).checkpoint == paths[0]
    assert found(tmp_path) == [2]
    assert found(tmp_path / "aside" / "001") == [4]  # it may be worth a repair
    start = begin(small(tmp_path, "trainer.resume=none"), tmp_path)
    assert start.checkpoint is None
    assert start.line not in ("a", "")
    assert not (tmp_path / "checkpoints").exists()
    assert found(tmp_path / "aside" / "002") == [2]


def test_nothing_but_damaged_checkpoints_stops_the_run(tmp_path: Path) -> None:
    for path in written(tmp_path, 2, 4):
        damage(path)
    with pytest.raises(DataError, match="no checkpoint that could be resumed from: .*iter_000000004/state.pt"):
        begin(small(tmp_path), tmp_path)
    assert found(tmp_path) == [2, 4]


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    written(tmp_path, 2, 40)
    start = begin(small(tmp_path, "data.batch_size=3", "trainer.max_steps=2"), tmp_path)
    assert start.step == 40
    assert found(tmp_path) == [2, 40]


def test_the_step_is_that_of_the_checkpoint_whatever_its_folder_is_called(tmp_path: Path) -> None:
    (path,) = written(tmp_path / "other", 6)
    best = path.rename(tmp_path / "best")
    start = begin(small(tmp_path, f"trainer.resume={best}"), tmp_path / "run")
    assert (start.step, start.checkpoint, seen_steps(best)) == (6, best, 6)


def test_a_requeued_job_resumes_its_own_checkpoints_whatever_its_command_line_says(tmp_path: Path) -> None:
    def attempt(number: int, choice: str) -> Any:
        slurm = {"SLURM_JOB_ID": "17", "SLURM_RESTART_COUNT": str(number)}
        owner = RunOwner(tmp_path, this_process(environment=slurm))
        owner.acquire()
        start = begin(small(tmp_path, f"trainer.resume={choice}"), tmp_path, owner)
        owner.note_begun()
        owner.release()
        return start

    (old,) = written(tmp_path, 4)
    first = attempt(0, "none")
    assert (first.checkpoint, found(tmp_path)) == (None, [])
    assert attempt(1, "none").checkpoint is None  # nothing was saved: it starts once more
    (own,) = written(tmp_path, 6, line=first.line)
    second = attempt(2, "none")
    assert (second.checkpoint, second.line) == (own, first.line)
    aside = tmp_path / "aside" / "001" / "checkpoints" / old.name
    assert aside.is_dir()
    assert attempt(0, "none").checkpoint is None  # submitted again


def test_a_run_folder_of_the_published_trainer_is_not_touched(tmp_path: Path) -> None:
    folder = tmp_path / "posttraining" / "diffusion" / "debug"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "iter_000000500_reg_model.pt").write_bytes(b"weights")
    (folder / "checkpoints" / "latest_checkpoint.txt").write_text("iter_000000500.pt\n")
    (folder / "config.yaml").write_text("theirs")
    before = contents(folder)
    for choice in ("auto", "none"):
        done = command(tmp_path, f"trainer.resume={choice}", status=2)
        assert "model.checkpoint=" in done.stderr
        assert "iter_000000500_reg_model.pt" in done.stderr
        assert {
            path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and ".owner" not in path.parts
        } == before
    file = folder / "checkpoints" / "iter_000000500_reg_model.pt"
    done = command(tmp_path, f"trainer.resume={file}", "log.name=other", status=2)
    assert f"model.checkpoint={file} starts from it" in done.stderr


# --- real runs


def command(root: Path, *options: str, status: int = 0, program: str = PROGRAM, ranks: int = 1) -> Any:
    words: Sequence[str] = ("recipe=debug", *FEW, "trainer.log_every=1", f"log.root={root}", *options)
    if ranks > 1:
        done = torchrun(ranks, ROOT / "recipes" / "dit.py", *words, cwd=ROOT)
    else:
        done = python("-c", program, *words, cwd=ROOT)
    assert done.returncode == status, done.stderr[-3000:]
    return done


def test_a_second_run_ends_before_it_writes_anything(tmp_path: Path) -> None:
    folder = tmp_path / "posttraining" / "diffusion" / "debug"
    owner = RunOwner(folder, this_process())
    owner.acquire()
    before = sorted(folder.rglob("*"))
    done = command(tmp_path, status=2)
    assert f"{folder} is in use by process {os.getpid()} on host " in done.stderr
    assert sorted(folder.rglob("*")) == before
    done = command(tmp_path, "parallel.data_shard=2", status=1, ranks=2)  # torchrun's own status
    assert done.stderr.count(f"is in use by process {os.getpid()} on host ") == 2
    assert sorted(folder.rglob("*")) == before
    owner.release()
    command(tmp_path, "parallel.data_shard=2", "trainer.max_steps=2", ranks=2)  # its ranks are one owner
    assert found(folder) == [2]


def test_a_killed_run_stops_nobody_and_ends_as_if_it_was_not(tmp_path: Path) -> None:
    options = ("trainer.save_every=2", "trainer.keep_last=0")
    command(tmp_path, "log.name=whole", *options)
    command(tmp_path, "log.name=killed", *options, status=-signal.SIGKILL, program=KILLED)
    folder = tmp_path / "posttraining" / "diffusion" / "killed"
    assert json.loads(next((folder / ".owner").glob("*.json")).read_text())["ended"] is False
    command(tmp_path, "log.name=killed", *options)
    assert_same_end(folder.with_name("whole"), folder)


def test_options_that_change_take_effect_from_the_next_step_on(tmp_path: Path) -> None:
    first = dit.train(small(tmp_path, "trainer.max_steps=4", "trainer.log_every=1", "optim.decay_biases=true"))
    resume = first.folder / "checkpoints" / "iter_000000004"
    before = (resume / "config.yaml").read_text()
    changed = [
        "optim.lr=1e-5", "optim.betas=[0.5,0.6]", "optim.weight_decay=0.5", "optim.clip_norm=0.1",
        "optim.warmup_steps=100", "optim.decay_biases=false", "trainer.accumulate=2",
        "model.ema.enabled=true", "trainer.log_every=1",
    ]  # fmt: skip
    seen: dict[str, Any] = {}

    class Look(Callback):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, *rest: Any) -> None:
            seen["groups"] = [
                {key: group[key] for key in ("betas", "weight_decay")} for group in trainer.optimizers[0].param_groups
            ]

    second = dit.FAMILY.train(small(tmp_path, *changed), [Look()])
    assert second.step == 8
    rates = {step: float(value) for step, value in column(first.folder, "lr").items()}
    assert rates[4] == pytest.approx(0.002 * 4 / 5)  # its own warm-up
    assert [rates[step] for step in (5, 6)] == pytest.approx([1e-5 * 5 / 100, 1e-5 * 6 / 100])
    assert [group["betas"] for group in seen["groups"]] == [(0.5, 0.6)] * 2
    assert [group["weight_decay"] for group in seen["groups"]] == [0.5, 0.0]
    recorded = load_config(dit.DitTrainConfig, first.folder / "config.yaml")
    assert (recorded.optim.lr, recorded.trainer.accumulate) == (1e-5, 2)
    assert (first.folder / "config_until_000000004.yaml").read_text() == before
    last = first.folder / "checkpoints" / "iter_000000008"
    state, batch = load_state(last), dit.debug().data.batch_size
    assert state["samples"] == 4 * batch + 4 * 2 * batch
    average, weights = load_full(last, "ema."), load_full(last, "model.")
    assert average
    assert average.keys() <= weights.keys()
    start = load_full(resume, "model.")
    name = next(name for name, tensor in start.items() if name in average and not tensor.equal(weights[name]))
    # power: decay (1 - 1/step)^(gamma+1), near 0 at first: it follows the weights, and did not begin at the random ones
    assert (average[name] - weights[name]).abs().max() < (start[name] - weights[name]).abs().max()


def test_without_changes_the_schedule_goes_on_bit_for_bit(tmp_path: Path) -> None:
    options = ["optim.warmup_steps=5", "optim.decay_until=9", "trainer.log_every=1"]
    whole = dit.train(small(tmp_path, "log.name=whole", *options))
    dit.train(small(tmp_path, "log.name=parts", "trainer.max_steps=3", *options))
    parts = dit.train(small(tmp_path, "log.name=parts", *options))
    assert column(whole.folder, "lr") == column(parts.folder, "lr")
    assert_same_end(whole.folder, parts.folder)
    assert not list(parts.folder.glob("config_until_*"))


def test_options_that_cannot_change_end_the_command_with_old_and_new_value(tmp_path: Path) -> None:
    folder = dit.train(small(tmp_path, "trainer.max_steps=4")).folder
    before = contents(folder)
    batch = dit.debug().data.batch_size
    for option, text in (
        ("data.batch_size=1", f"data.batch_size: {batch} -> 1: the place in the data"),
        ("trainer.seed=7", "trainer.seed: 1234 -> 7: the place in the data"),
        ("model.checkpoint=x.pt", 'model.checkpoint: "" -> x.pt: has no effect on resume'),
        ("model.lora.rank=2", "model.lora.rank: 0 -> 2: cannot change after the start of a run"),
    ):
        with pytest.raises(UserError, match=text):
            dit.train(small(tmp_path, option))
    assert contents(folder) == before
    result = dit.train(small(tmp_path, "data.batch_size=1", "trainer.seed=7", "trainer.restart_data=true"))
    assert result.step == 8
    assert load_state(folder / "checkpoints" / "iter_000000008")["samples"] == 4 * batch + 4


def test_a_run_with_nothing_to_do_says_what_its_checkpoint_has_seen(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dit.train(small(tmp_path, "trainer.max_steps=6"))
    caplog.set_level("INFO")
    assert dit.train(small(tmp_path, "trainer.max_steps=5")).step == 6
    assert "iter_000000006 has seen 6 steps, trainer.max_steps=5: nothing to do" in caplog.text


def test_the_folder_of_a_run_that_is_refused_at_once_is_not_left_behind(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="trainer.resume=missing"):
        dit.train(small(tmp_path, "trainer.resume=missing"))
    assert not (tmp_path / "posttraining" / "diffusion" / "debug").exists()
