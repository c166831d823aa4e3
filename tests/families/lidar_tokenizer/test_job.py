from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.export import export_checkpoint
from cosmos_lidar.models.tokenizer import load_tokenizer
from cosmos_lidar.recipes import lidar_tokenizer
from cosmos_lidar.recipes.lidar_tokenizer import train
from cosmos_lidar.recipes.registry import find_family
from cosmos_lidar.training.checkpoint.reading import load_full, load_state
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.run_folder import run_folder
from cosmos_lidar.training.run_log import read_metrics

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

MEASURED = ("samples/s", "tokens/s", "tflops", "mfu", "memory_gb", "data_s", "compute_s", "optimizer_s", "save_s")


def _rows(folder: Path) -> list[dict[str, str]]:
    rows = read_metrics(folder / "metrics.csv")
    return [{name: value for name, value in row.items() if name not in MEASURED} for row in rows]


def assert_same(one, other) -> None:
    """Compare nested values; tensors bit for bit."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
    else:
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def _checkpoint(folder: Path, step: int) -> dict:
    path = folder / "checkpoints" / f"iter_{step:09d}"
    state = load_state(path)
    del state["loop"]  # Lightning's own counters do not count the step that was being ended when it was saved
    return {"tensors": load_full(path), "state": state}


@pytest.mark.slow
def test_an_interrupted_run_ends_like_an_uninterrupted_one(small_run, meddle):
    ema = ["model.ema.enabled=true", "model.ema.decay=0.9", "trainer.val_every=3"]
    straight = train(small_run("log.name=straight", *ema))
    assert (straight.step, straight.signal) == (8, 0)
    seen = []

    def interrupt(number: int, batch):
        seen.append(batch.__key__)
        if number == 5 and len(seen) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch

    meddle(interrupt)
    stopped = train(small_run("log.name=stopped", *ema))
    assert (stopped.step, stopped.signal) == (5, signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finished = train(small_run("log.name=stopped", *ema))
    assert (finished.step, finished.signal, len(seen)) == (8, 0, 8)
    assert _rows(finished.folder) == _rows(straight.folder)
    one, other = _checkpoint(straight.folder, 8), _checkpoint(finished.folder, 8)
    assert len(one["tensors"]) > 100
    assert_same(other, one)
    again = train(small_run("log.name=stopped", *ema))  # already done: nothing is touched
    assert again.step == 8
    assert _rows(finished.folder) == _rows(straight.folder)


def test_a_value_that_is_not_finite_stops_before_the_update(small_run, meddle):
    clips = []

    def poison(number: int, batch):
        clips[:] = batch.clip_ids
        return replace(batch, images=batch.images * float("nan")) if number == 3 else batch

    meddle(poison)
    run = small_run("trainer.save_every=1")
    with pytest.raises(UserError) as error:
        train(run)
    assert "step 3" in str(error.value)
    assert "not finite" in str(error.value)
    assert all(clip in str(error.value) for clip in clips)
    names = sorted(path.name for path in (run_folder(run) / "checkpoints").glob("iter_*"))
    assert names == ["iter_000000001", "iter_000000002"]


def test_data_that_cannot_be_used(small_run, shards, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="nowhere"):
        train(small_run("data.path=nowhere"))
    with pytest.raises(UserError, match="test"):
        train(small_run("data.val_split=test"))  # an empty split
    with pytest.raises(UserError, match="data.crop_columns=896"):
        train(small_run("data.crop_columns=896"))
    with pytest.raises(UserError, match="data.crop_columns=60"):
        train(small_run("data.crop_columns=60"))
    with pytest.raises(DataError, match="vgg_is_not_here.pth"):
        train(small_run("model.loss.perceptual=0.1", "model.loss.perceptual_weights=vgg_is_not_here.pth"))
    with pytest.raises(UserError, match="no_weights"):
        train(small_run("model.checkpoint=no_weights"))
    with pytest.raises(UserError, match="trainer.resume=no_checkpoint"):
        train(small_run("trainer.resume=no_checkpoint"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="log.mlflow=true needs mlflow, .*not installed"):
        train(small_run("log.mlflow=true"))


def test_exports_are_what_training_goes_on_from(small_run, tmp_path):
    run = small_run("trainer.max_steps=3", "model.ema.enabled=true", "model.ema.decay=0.5", "trainer.log_every=3")
    first = train(run)
    last = _rows(first.folder)[-1]
    paths = export_checkpoint(first.folder / "checkpoints" / "iter_000000003", tmp_path / "out", find_family)
    stem = "iter_000000003"
    endings = (".pt", ".safetensors", "_enc.jit", "_dec.jit", "_ema.jit")
    names = {"config.yaml", *(stem + ending for ending in endings)}
    assert {path.name for path in paths} == {path.name for path in (tmp_path / "out").iterdir()} == names
    trained = load_full(first.folder / "checkpoints" / stem, "model.")
    published = torch.load(tmp_path / "out" / f"{stem}.pt", weights_only=True)
    assert published["iteration"] == 3
    assert {f"network.{k}" for k in trained} == set(published["model"])
    ema = torch.jit.load(tmp_path / "out" / f"{stem}_ema.jit").state_dict()
    average = load_full(first.folder / "checkpoints" / stem, "ema.")
    assert all(torch.equal(ema[name], value) for name, value in average.items())
    second = apply_overrides(
        run, [f"model.checkpoint={tmp_path / 'out' / stem}.safetensors", "log.name=second", "model.ema.enabled=false"]
    )
    begun = _rows(train(second).folder)[0]
    assert begun["step"] == "0"
    assert float(begun["val/loss"]) != float(last["val/loss"])  # that one was of the average
    assert float(begun["val/loss"]) < float(_rows(first.folder)[0]["val/loss"])
    with pytest.raises(DataError, match="config.yaml"):
        export_checkpoint(tmp_path / "out" / "config.yaml", tmp_path / "out2", find_family)


def test_old_checkpoints_are_deleted(small_run):
    run = small_run("trainer.max_steps=4", "trainer.save_every=1", "trainer.keep_last=2")
    folder = train(run).folder / "checkpoints"
    assert sorted(path.name for path in folder.glob("iter_*")) == ["iter_000000003", "iter_000000004"]
    assert json.loads((folder / "newest_checkpoint.json").read_text())["name"] == "iter_000000004"


def test_a_decoder_trained_alone_leaves_the_latents_as_they_are(small_run):
    first = train(small_run("log.name=first", "trainer.export=true"))
    weights = first.folder / "checkpoints" / "iter_000000008.safetensors"
    options = [f"model.checkpoint={weights}", "model.train_encoder=false", "log.name=second"]
    second = train(small_run(*options))
    one, other = (load_full(run.folder / "checkpoints" / "iter_000000008") for run in (first, second))
    weights = {name for name in one if name.startswith("model.")}
    kept = {name for name in weights if name.startswith(("model.encoder.", "model.quant_conv."))}
    assert len(kept) > 10
    assert all(torch.equal(one[name], other[name]) for name in kept)
    assert all(not torch.equal(one[name], other[name]) for name in weights - kept if "decoder.conv_" in name)
    with pytest.raises(UserError, match="model.train_encoder=False: give the tokenizer"):
        train(small_run("model.train_encoder=false", "log.name=third"))


SHAPE = ["model.name=CV4x8x8", "model.channels_mult=[1,2]", "model.resolution=null", "data.sequence=5"]


def test_sequences_are_learned_from_and_exported(tmp_path: Path) -> None:
    options = [*SHAPE, "trainer.max_steps=8", "trainer.val_every=0", f"log.root={tmp_path}", "log.tensorboard=false"]
    result = lidar_tokenizer.train(apply_overrides(lidar_tokenizer.debug(), options))
    rows = [row for row in read_metrics(result.folder / "metrics.csv") if row["val/rmse_m"]]
    assert float(rows[-1]["val/rmse_m"]) < 0.9 * float(rows[0]["val/rmse_m"])
    network = load_tokenizer(result.folder / "checkpoints" / "iter_000000008.pt")
    assert network.config.temporal_compression == 4
    assert network.encode(torch.zeros(1, 3, 5, 16, 64)).shape == (1, 16, 2, 2, 8)
