"""Accumulated batches are one large batch: on one rank, on two, and where every batch has its own number of voxels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

from cosmos_lidar.parallel.mesh import mesh_sizes
from cosmos_lidar.recipes.dit import FAMILY as DIT
from cosmos_lidar.training.checkpoint.reading import load_full, load_state
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.preflight.prediction import predict
from cosmos_lidar.training.preflight.replay import replay
from cosmos_lidar.training.run_log import read_metrics
from tests.training.sparse_family import FAMILY, VoxelModel, VoxelNetwork, debug, point_batch
from tests.training.test_engine import assert_same_end, processes
from tests.workers.client import torchrun

ROOT = Path(__file__).resolve().parents[2]
EXACT = (
    "trainer.val_batches=0 optim.eps=1e-3 model.ema.enabled=true optim.clip_norm=0.01 optim.decay_until=10"
).split()


def assert_same_training(one: str | Path, other: str | Path, step: int) -> None:
    """Rows of the log and all tensors agree to 1e-6."""
    rows = [read_metrics(Path(folder) / "metrics.csv") for folder in (one, other)]
    compared = [name for name in rows[0][0] if name in ("step", "loss", "grad_norm", "lr") or name.startswith("val/")]
    for ours, theirs in zip(*rows, strict=True):
        for name in compared:
            wanted = theirs[name] and pytest.approx(float(theirs[name]), rel=1e-5, abs=1e-6)
            assert (ours[name] and float(ours[name])) == wanted, name
    tensors = [load_full(Path(folder) / "checkpoints" / f"iter_{step:09d}") for folder in (one, other)]
    assert tensors[0].keys() == tensors[1].keys()
    for name, wanted in tensors[1].items():
        torch.testing.assert_close(tensors[0][name], wanted, rtol=1e-5, atol=1e-6, msg=name)
    states = [load_state(Path(folder) / "checkpoints" / f"iter_{step:09d}") for folder in (one, other)]
    for key in ("step", "samples", "lr"):
        assert states[0][key] == states[1][key]


def test_one_rank_accumulates_exactly(tmp_path: Path) -> None:
    runs = [["log.name=large", "data.batch_size=4"], ["log.name=two", "data.batch_size=2", "trainer.accumulate=2"],
            ["log.name=four", "data.batch_size=1", "trainer.accumulate=4"]]  # fmt: skip
    (said,) = processes(1, {"runs": runs}, "dit", f"log.root={tmp_path}", "trainer.max_steps=5", *EXACT)
    large, *others = said["runs"]
    rows = read_metrics(Path(large["folder"]) / "metrics.csv")
    assert all(float(row["grad_norm"]) > 0.01 for row in rows if row["loss"])  # clipping is at work
    for other in others:
        assert other["clips"] == large["clips"]
        assert_same_training(other["folder"], large["folder"], 5)


@pytest.mark.slow
def test_two_ranks_accumulate_exactly(tmp_path: Path) -> None:
    small = ["data.batch_size=1", "trainer.accumulate=2"]
    runs = [["log.name=large", "data.batch_size=2"], ["log.name=each", "parallel.reduce=each", *small],
            ["log.name=last", "parallel.reduce=last", *small],
            ["log.name=copies", "parallel.data_shard=1", "parallel.data_replicate=2", *small]]  # fmt: skip
    options = [f"log.root={tmp_path}", "trainer.max_steps=4", "parallel.data_shard=2", *EXACT]
    large, *others = (processes(2, {}, "dit", *options, *run)[0]["runs"][0] for run in runs)
    for other in others:
        assert other["clips"] == large["clips"]
        assert_same_training(other["folder"], large["folder"], 4)


def test_an_accumulating_run_resumes_exactly(tmp_path: Path) -> None:
    runs = [["log.name=whole"], ["log.name=parts", "trainer.max_steps=3"], ["log.name=parts"]]
    options = [f"log.root={tmp_path}", "data.batch_size=1", "trainer.accumulate=3", "model.ema.enabled=true"]
    (said,) = processes(1, {"runs": runs}, "dit", *options)
    whole, first, second = said["runs"]
    assert first["clips"] + second["clips"] == whole["clips"]
    assert all(len(step) == 3 for step in whole["clips"])
    assert_same_end(whole["folder"], second["folder"])


def test_all_batches_of_a_refused_step_are_written(tmp_path: Path) -> None:
    options = [f"log.root={tmp_path}", "data.batch_size=1", "trainer.accumulate=2", "trainer.save_every=2"]
    (said,) = processes(1, {"nan": 3}, "dit", *options)
    (run,) = said["runs"]
    assert "step 3: the loss or the gradient" in run["error"]
    folder = tmp_path / "posttraining" / "diffusion" / "debug"
    dump = torch.load(folder / "dumps" / "step_000000003" / "rank_00000.pt", weights_only=True)
    assert [batch["clip_ids"][0] for batch in dump["batches"]] == run["clips"][2]
    assert [bool(torch.isnan(batch["latents"]).any()) for batch in dump["batches"]] == [False, True]
    again = replay(DIT, DIT.load(folder / "config.yaml"), folder, 2, tmp_path / "dumps")
    assert again.same, again.lines
    dump = torch.load(tmp_path / "dumps" / "step_000000002" / "rank_00000.pt", weights_only=True)
    assert [batch["clip_ids"][0] for batch in dump["batches"]] == run["clips"][1]


def trained(tmp_path: Path, ranks: int, *runs: list[str]) -> list[Path]:
    """Train the sparse family on some ranks, once for each list of options."""
    folders = []
    for options in runs:
        program = (ROOT / "tests" / "training" / "sparse_family.py", f"log.root={tmp_path}", *options)
        done = torchrun(ranks, *program, cwd=ROOT)
        assert done.returncode == 0, done.stderr[-4000:]
        folders.append(Path(done.stdout.partition("RESULT ")[2].splitlines()[0]))
    return folders


def test_batches_of_varying_length_accumulate_exactly(tmp_path: Path) -> None:
    large, two, parts, whole = trained(
        tmp_path, 1, ["log.name=large"], ["log.name=two", "data.batch_size=2", "trainer.accumulate=2"],
        ["log.name=parts", "data.batch_size=1", "trainer.accumulate=4", "trainer.max_steps=3"],
        ["log.name=whole", "data.batch_size=1", "trainer.accumulate=4"],
    )  # fmt: skip
    (resumed,) = trained(tmp_path, 1, ["log.name=parts", "data.batch_size=1", "trainer.accumulate=4"])
    assert_same_training(two, large, 6)
    assert_same_training(whole, large, 6)
    assert_same_end(whole, resumed, 6)
    assert resumed == parts
    rows = read_metrics(large / "metrics.csv")
    assert all(row["tflops"] == row["mfu"] == "" for row in rows)
    assert all(float(row["voxels/s"]) > float(row["samples/s"]) for row in rows if row["loss"])
    # validation: the mean over all voxels, not over batches
    assert float(rows[-1]["val/loss"]) > 0


def test_ranks_with_batches_of_varying_length_are_one_large_batch(tmp_path: Path) -> None:
    (alone,) = trained(tmp_path / "alone", 1, ["data.batch_size=4"])
    sharded, accumulated = trained(
        tmp_path, 2, ["log.name=sharded", "parallel.data_shard=2", "data.batch_size=2"],
        ["log.name=accumulated", "parallel.data_shard=2", "data.batch_size=1", "trainer.accumulate=2"],
    )  # fmt: skip
    assert_same_training(sharded, alone, 6)
    assert_same_training(accumulated, alone, 6)
    voxels = [float(read_metrics(folder / "metrics.csv")[0]["voxels/s"]) for folder in (sharded, alone)]
    samples = [float(read_metrics(folder / "metrics.csv")[0]["samples/s"]) for folder in (sharded, alone)]
    assert voxels[0] / samples[0] == pytest.approx(voxels[1] / samples[1])  # of all ranks together


def test_losses_of_the_log_are_means_over_voxels(tmp_path: Path) -> None:
    model = VoxelModel(debug(), VoxelNetwork(8), tmp_path)
    batches = [point_batch([1, 2]), point_batch([3])]
    model._batches = batches
    shares = model._loss_shares()
    assert sum(shares) == pytest.approx(1.0)
    loss, values = model.run_batches(batches, shares)
    whole = model.step(point_batch([1, 2, 3]))
    assert float(values["loss"]) == pytest.approx(float(whole["loss"]), rel=1e-6)
    loss.backward()
    gradient = model.network.second.weight.grad.clone()
    model.network.zero_grad()
    whole["loss"].backward()
    torch.testing.assert_close(gradient, model.network.second.weight.grad, rtol=1e-5, atol=1e-7)


def test_the_doctor_says_what_it_cannot_count() -> None:
    found = predict(debug(), FAMILY, mesh_sizes(0, 1, 1, 1, 1))
    assert (found.flops, found.total_flops, found.peak, found.activations) == (None, None, None, None)
    assert found.flops_unknown
    assert found.peak_unknown
    assert found.weights == 4 * found.parameters
    assert found.optimizer == pytest.approx(2 * found.weights, rel=0.1)


def test_the_prediction_counts_gradients_beside_the_next_batch() -> None:
    run = apply_overrides(DIT.recipes["debug"](), ["trainer.accumulate=3"])
    one, three = (predict(chosen, DIT, mesh_sizes(0, 1, 1, 1, 1)) for chosen in (DIT.recipes["debug"](), run))
    assert three.total_flops == 3 * one.total_flops
    assert one.peak < three.peak <= one.peak + one.gradients * 1.1
