"""The engine from outside: stops, failures, other meshes, several processes. The models are those of debug recipes."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.dit.model import DitModel
from cosmos_lidar.recipes import dit, lidar_tokenizer
from cosmos_lidar.training.checkpoint import store as checkpoint_store
from cosmos_lidar.training.checkpoint.reading import load_full, load_state
from cosmos_lidar.training.checkpoint.store import CheckpointStore
from cosmos_lidar.training.overrides import load_config
from cosmos_lidar.training.preflight.replay import replay
from tests.training.debug_runs import FEW, losses, small
from tests.workers.client import python, torchrun

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

ROOT = Path(__file__).resolve().parents[2]


def processes(count: int, scenario: dict, family: str, *options: str, status: int = 0) -> list[dict]:
    """Run the worker on ``count`` processes; returns what each said of its runs, in rank order."""
    worker = (ROOT / "tests" / "workers" / "engine_worker.py", json.dumps(scenario), family, *FEW, *options)
    done = torchrun(count, *worker, cwd=ROOT) if count > 1 else python(*worker, cwd=ROOT)
    assert done.returncode == status, done.stderr[-4000:]
    said = [json.loads(line.partition("RESULT ")[2]) for line in done.stdout.splitlines() if "RESULT " in line]
    return sorted(said, key=lambda one: one["rank"])


def assert_same_end(one: str | Path, other: str | Path, step: int = 8) -> None:
    """Losses, every tensor, and the states of loader and random numbers are the same, bit for bit."""
    assert losses(one) == losses(other)
    paths = [Path(folder) / "checkpoints" / f"iter_{step:09d}" for folder in (one, other)]
    tensors = [load_full(path) for path in paths]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
    states = [load_state(path) for path in paths]
    assert _flat(states[0]["ranks"]) == _flat(states[1]["ranks"])
    assert states[0]["samples"] == states[1]["samples"]


def _flat(tree: object) -> object:
    if isinstance(tree, torch.Tensor):
        return tree.tolist()
    if isinstance(tree, dict):
        return {key: _flat(value) for key, value in tree.items()}
    return [_flat(item) for item in tree] if isinstance(tree, list | tuple) else tree


@pytest.mark.parametrize(
    ("family", "workers"),
    [
        ("dit", 0),
        *(
            pytest.param(*more, marks=pytest.mark.slow)
            for more in (("dit", 1), ("dit", 2), ("lidar_tokenizer", 0), ("lidar_tokenizer", 1), ("lidar_tokenizer", 2))
        ),
    ],
)
def test_a_resumed_run_is_the_uninterrupted_one(family: str, workers: int, tmp_path: Path) -> None:
    stop_at = 3 if workers else 5
    runs = [["log.name=whole"], ["log.name=parts", f"trainer.max_steps={stop_at}"], ["log.name=parts"]]
    options = [f"log.root={tmp_path}", f"data.workers={workers}", "model.ema.enabled=true"]
    (said,) = processes(1, {"runs": runs}, family, *options)
    whole, first, second = said["runs"]
    assert (whole["step"], first["step"], second["step"]) == (8, stop_at, 8)
    assert first["clips"] + second["clips"] == whole["clips"]
    assert_same_end(whole["folder"], second["folder"])


def test_two_processes_resume_exactly(tmp_path: Path) -> None:
    options = [f"log.root={tmp_path}", "parallel.data_shard=2"]
    whole = processes(2, {}, "dit", *options, "log.name=whole")
    processes(2, {}, "dit", *options, "log.name=parts", "trainer.max_steps=4")
    parts = processes(2, {}, "dit", *options, "log.name=parts")
    assert_same_end(whole[0]["runs"][0]["folder"], parts[0]["runs"][0]["folder"])
    assert whole[0]["runs"][0]["clips"] != whole[1]["runs"][0]["clips"]  # each its own share


@pytest.mark.slow
def test_other_meshes_take_over(tmp_path: Path) -> None:
    root, tensor, context = f"log.root={tmp_path}", "parallel.tensor=2", "parallel.context=2"
    whole = processes(2, {}, "dit", root, tensor, "log.name=whole")
    first = processes(2, {}, "dit", root, tensor, "log.name=parts", "trainer.max_steps=4")
    second = processes(2, {}, "dit", root, context, "log.name=parts")
    # one share of the data, before and after: the loader goes on as it would have
    clips = [said[0]["runs"][0]["clips"] for said in (whole, first, second)]
    assert clips[1] + clips[2] == clips[0]
    assert whole[1]["runs"][0]["clips"] == clips[0]
    found, wanted = ([float(loss) for _, loss in losses(said[0]["runs"][0]["folder"])] for said in (second, whole))
    assert found == pytest.approx(wanted, rel=1e-4)
    shared = processes(2, {}, "dit", root, "parallel.data_shard=2", "log.name=shared", "trainer.max_steps=4")
    assert shared[0]["runs"][0]["step"] == 4
    # one process goes on from two that shared the data: weights and step, and another shuffle if asked for
    (alone,) = processes(1, {"runs": [[], ["trainer.restart_data=true"]]}, "dit", root, "log.name=shared")
    assert "trainer.restart_data=true begins a new shuffle" in alone["runs"][0]["error"]
    assert alone["runs"][1]["step"] == 8


@pytest.mark.slow
def test_other_numbers_of_ranks_go_on_with_the_next_sample(tmp_path: Path) -> None:
    options = [f"log.root={tmp_path}", "trainer.global_batch_size=4", "data.batch_size=2"]
    (whole,) = processes(1, {}, "dit", *options, "log.name=whole", "data.workers=2")
    processes(1, {}, "dit", *options, "log.name=parts", "data.workers=2", "trainer.max_steps=3")
    processes(2, {}, "dit", *options, "log.name=parts", "data.workers=1", "trainer.max_steps=6")
    (parts,) = processes(1, {}, "dit", *options, "log.name=parts", "data.workers=2")
    found, wanted = ([float(loss) for _, loss in losses(said["runs"][0]["folder"])] for said in (parts, whole))
    assert found == pytest.approx(wanted, rel=1e-5)
    (refused,) = processes(1, {}, "dit", *options, "log.name=parts", "data.workers=3", "trainer.max_steps=9")
    assert "ranks x workers are the same" in refused["runs"][0]["error"]


@pytest.mark.slow
def test_a_tokenizer_on_halves_of_the_width_trains_like_one_process(tmp_path: Path) -> None:
    options = [f"log.root={tmp_path}", "trainer.max_steps=4", "optim.eps=1e-3"]
    said = processes(2, {"runs": [["log.name=halves", "parallel.context=2"]]}, "lidar_tokenizer", *options)
    (alone,) = processes(1, {"runs": [["log.name=alone"]]}, "lidar_tokenizer", *options)
    found, wanted = ([float(loss) for _, loss in losses(one["runs"][0]["folder"])] for one in (said[0], alone))
    assert found == pytest.approx(wanted, rel=1e-4)
    assert said[0]["runs"][0]["clips"] == alone["runs"][0]["clips"]


def test_a_value_that_is_not_finite_stops_all_ranks_and_says_where(tmp_path: Path) -> None:
    said = processes(2, {"nan": 4}, "dit", f"log.root={tmp_path}", "parallel.data_shard=2", "trainer.save_every=2")
    messages = [rank["runs"][0]["error"] for rank in said]
    assert messages[0] == messages[1]
    poisoned = said[1]["runs"][0]["clips"][3]
    assert "step 4: the loss or the gradient" in messages[0]
    assert "nothing was updated" in messages[0]
    assert f"rank 1: loss nan, clips {', '.join(poisoned)}, first in x_embedder.proj.1 (Linear)" in messages[0]
    assert "all outputs finite" in messages[0].partition("rank 1")[0]
    folder = tmp_path / "posttraining" / "diffusion" / "debug"
    assert sorted(path.name for path in (folder / "checkpoints").glob("iter_*")) == ["iter_000000002"]
    dumps = [torch.load(folder / "dumps" / "step_000000004" / f"rank_0000{r}.pt", weights_only=True) for r in (0, 1)]
    assert dumps[1]["batch"]["clip_ids"] == poisoned
    assert torch.isnan(dumps[1]["batch"]["latents"]).all()
    assert torch.isfinite(dumps[0]["batch"]["latents"]).all()
    run = load_config(dit.DitTrainConfig, folder / "config.yaml")
    with pytest.raises(
        UserError, match="expected 2 processes, as the run had; started with 1: torchrun --nproc_per_node=2"
    ):
        replay(dit.FAMILY, run, folder, 4, tmp_path / "dumps")


def test_the_rank_of_a_bad_gradient_is_named(tmp_path: Path) -> None:
    scenario = {"bad_gradient": 3}
    for sharding in ("parallel.data_shard=2", "parallel.data_replicate=2"):
        said = processes(2, scenario, "dit", f"log.root={tmp_path}", f"log.name={sharding[9:]}", sharding)
        first, second = (rank["runs"][0]["error"] for rank in said)
        assert first == second
        healthy, _, poisoned = first.partition("; rank 1: ")
        assert "rank 0: loss" in healthy
        assert "first bad gradient" not in healthy
        assert "all outputs finite, first bad gradient: the output of" in poisoned


def test_a_signal_to_one_rank_saves_the_same_step_on_all(tmp_path: Path) -> None:
    said = processes(2, {"signal": 3}, "dit", f"log.root={tmp_path}")
    assert [(rank["runs"][0]["step"], rank["runs"][0]["signal"]) for rank in said] == [(3, signal.SIGUSR1)] * 2
    state = load_state(tmp_path / "posttraining" / "diffusion" / "debug" / "checkpoints" / "iter_000000003")
    assert (state["step"], len(state["ranks"])) == (3, 2)


def test_a_rank_that_hangs_ends_all_with_their_stacks_in_one_file(tmp_path: Path) -> None:
    processes(2, {"hang": 3}, "dit", f"log.root={tmp_path}", "trainer.hang_timeout_s=600", status=1)
    text = (tmp_path / "posttraining" / "diffusion" / "debug" / "hang.txt").read_text()
    assert "=== rank 0, " in text
    assert "=== rank 1, " in text
    assert "after step 2" in text
    assert "engine_worker.py" in text
    assert "rank 1 is busy in step (engine_worker.py:" in text


def test_the_exit_statuses_of_the_command_line(tmp_path: Path) -> None:
    script = """
import os, signal, sys
from cosmos_lidar.training.model import TrainedModel
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # ignored where the tests run under nohup
train = TrainedModel.training_step
def step(self, batch, index):
    if self.global_step == 1:
        os.kill(os.getpid(), getattr(signal, os.environ["SEND"]))
    return train(self, batch, index)
TrainedModel.training_step = step
from cosmos_lidar.recipes import dit
sys.exit(dit.FAMILY.main())
"""
    options = ["recipe=debug", *FEW, f"log.root={tmp_path}"]
    for name, status in (("SIGUSR1", 138), ("SIGHUP", 129)):
        done = python("-c", script, *options, f"log.name={name}", env={"SEND": name}, cwd=ROOT)
        assert done.returncode == status, done.stderr[-2000:]
        assert (tmp_path / "posttraining" / "diffusion" / name / "checkpoints" / "iter_000000002").is_dir()


def spiky(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> list[int]:
    """Let the loss jump at the given batches, counted from 1."""
    train, count = DitModel.training_step, [0]

    def step(self: DitModel, batch: Any, index: int) -> torch.Tensor:
        count[0] += 1
        jump = 50.0 if count[0] in steps else 1.0
        return train(self, replace(batch, latents=batch.latents * jump), index)

    monkeypatch.setattr(DitModel, "training_step", step)
    return count


def test_a_jump_of_the_loss_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spiky(monkeypatch, {6})
    options = ["guard.spike=skip", "guard.spike_window=8", "trainer.save_every=1", "trainer.keep_last=0"]
    folder = dit.train(small(tmp_path, *options)).folder / "checkpoints"
    before, after, later = (load_full(folder / f"iter_{step:09d}", "model.") for step in (5, 6, 7))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not all(torch.equal(later[name], after[name]) for name in before)


def test_a_jump_of_the_loss_goes_back_to_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = spiky(monkeypatch, {7})
    options = ["guard.spike=rollback", "guard.spike_window=8", "trainer.save_every=4"]
    result = dit.train(small(tmp_path, *options))
    assert (result.step, count[0]) == (8, 11)  # batches 5 to 7 were for nothing
    assert [int(step) for step, _ in losses(result.folder)] == list(range(1, 9))
    spiky(monkeypatch, set(range(7, 40)))
    with pytest.raises(UserError, match="spiked again after 3 rollbacks"):
        dit.train(small(tmp_path / "again", *options))


def test_a_resumed_run_does_not_meet_the_samples_of_a_spike_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    spiky(monkeypatch, {7})
    jump = DitModel.training_step

    def step(self: DitModel, batch: Any, index: int) -> torch.Tensor:
        seen.append(", ".join(batch.clip_ids) + f" {batch.noise_seeds}")
        if len(seen) == 9 and not killed:
            killed.append(True)
            raise KeyError("as if it were killed")
        return jump(self, batch, index)

    killed: list[bool] = []
    monkeypatch.setattr(DitModel, "training_step", step)
    options = ["guard.spike=rollback", "guard.spike_window=8", "trainer.save_every=4"]
    with pytest.raises(KeyError):
        dit.train(small(tmp_path, *options))
    first = list(seen)
    seen.clear()
    assert dit.train(small(tmp_path, *options)).step == 8
    assert seen[:2] == first[7:9]  # it goes on after the spike, the seventh batch
    assert not set(seen) & set(first[:7])


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write, failed = checkpoint_store.write_manifest, []

    def full_once(part: Path, step: int, *rest: Any) -> None:
        if not failed:
            failed.append(step)
            raise OSError(28, "No space left on device")
        write(part, step, *rest)

    monkeypatch.setattr(checkpoint_store, "write_manifest", full_once)
    poll = CheckpointStore.poll

    def poll_at_the_end(store: CheckpointStore) -> Any:  # so that the step at which it is known is always the same
        if store._thread is not None:
            store._thread.join()
        return poll(store)

    monkeypatch.setattr(CheckpointStore, "poll", poll_at_the_end)
    result = dit.train(small(tmp_path, "trainer.save_every=3", "trainer.keep_last=0"))
    assert (result.step, failed) == (8, [3])
    assert "checkpoint of step 3 could not be written: OSError" in caplog.text
    names = {int(path.name[5:]) for path in (result.folder / "checkpoints").glob("iter_*") if path.is_dir()}
    assert names == {4, 6, 8}  # once more as soon as it was known


def test_bf16_trains_to_about_the_same_losses(tmp_path: Path) -> None:
    lower = dit.train(small(tmp_path, "trainer.precision=bf16", "log.name=bf16"))
    full = dit.train(small(tmp_path, "log.name=fp32"))
    found, wanted = ([float(loss) for _, loss in losses(one.folder)] for one in (lower, full))
    assert found == pytest.approx(wanted, rel=0.05)
    assert found != wanted
    weights = load_full(lower.folder / "checkpoints" / "iter_000000008", "model.")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["parallel.tensor=2"], "does not make the 1 processes"),
        (["parallel.attention=flash"], "parallel.attention=flash: valid: ulysses, gather, ring"),
        (["kernels.norm=triton"], "kernels.norm=triton"),
        (["trainer.precision=fp8"], "trainer.precision=fp8"),
        (["data.latent_shape=[16,3,8,16]"], "do not divide"),
        (["data.text_shape=[8,32]"], "takes embeddings of width 64"),
        (["model.checkpoint=nowhere.pt"], "nowhere.pt"),
        (["guard.spike=ignore"], "valid: off, skip, rollback"),
    ],
)
def test_options_that_cannot_work_are_refused(options: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        dit.train(small(tmp_path, *options))


def test_every_recipe_has_a_debug_variant() -> None:
    for module in (dit, lidar_tokenizer):
        run = module.RECIPES["debug"]()
        assert run.recipe == "debug"
        assert run.trainer.accelerator == "cpu"
        assert module.__name__.endswith(run.family)
