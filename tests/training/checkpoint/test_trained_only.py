"""Checkpoints of trained parameters only: small, exact on resume, exported with the frozen weights merged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.families.dit.job import make_network
from cosmos_lidar.families.export import export_checkpoint
from cosmos_lidar.models.dit.lora_files import read_adapter
from cosmos_lidar.recipes import dit
from cosmos_lidar.recipes.registry import find_family
from cosmos_lidar.training.checkpoint.callback import frozen_norm, trained_state
from cosmos_lidar.training.checkpoint.reading import load_full
from cosmos_lidar.training.overrides import apply_overrides
from tests.training.debug_runs import FEW
from tests.training.test_engine import assert_same_end, processes

pytest.importorskip("nemo")
pytest.importorskip("megatron.energon")

LORA = ["model.lora.rank=3", "model.lora.alpha=6", "model.ema.enabled=true", "trainer.checkpoint_trained_only=true"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights to start from."""
    torch.manual_seed(3)
    network = make_network(dit.debug())
    path = tmp_path_factory.mktemp("base") / "model.pt"
    state = {f"net.{name}": tensor + 0.02 * torch.randn(tensor.shape) for name, tensor in network.state_dict().items()}
    state["net.pos_embedder.seq"] = network.pos_embedder.seq
    torch.save(state, path)
    return path


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_resumes_exactly(ranks: int, base: Path, tmp_path: Path) -> None:
    options = [*LORA, f"log.root={tmp_path}", f"model.checkpoint={base}", f"parallel.data_shard={ranks}"]
    whole = processes(ranks, {}, "dit", *options, "log.name=whole")[0]["runs"][0]
    processes(ranks, {}, "dit", *options, "log.name=parts", "trainer.max_steps=4")
    parts = processes(ranks, {}, "dit", *options, "log.name=parts")[0]["runs"][0]
    assert_same_end(whole["folder"], parts["folder"])
    found = load_full(Path(whole["folder"]) / "checkpoints" / "iter_000000008")
    names = [name.split(".") for name in found if not name.startswith("optim")]
    kinds = {f"{name[0]} {'.'.join(name[-3:])}" for name in names}
    factors = {f"{kind} {factor}.default.weight" for kind in ("model", "ema") for factor in ("lora_A", "lora_B")}
    assert kinds == factors | {"model lora_A.default.scale"}
    moved = [float(tensor.abs().max()) for name, tensor in found.items() if name.endswith("lora_B.default.weight")]
    assert min(moved) > 0


def test_exports_are_updates_in_training_and_merged_afterwards(base: Path, tmp_path: Path) -> None:
    options = [*FEW, *LORA, f"log.root={tmp_path}", f"model.checkpoint={base}", "trainer.export=true"]
    run = apply_overrides(dit.debug(), options)
    folder = dit.FAMILY.train(run).folder / "checkpoints"
    for kind in ("reg", "ema"):
        adapter = read_adapter(folder / f"iter_000000008_{kind}_lora")
        assert (adapter.rank, adapter.alpha, len(adapter.factors)) == (3, 6.0, 2 * 10)
    export_checkpoint(folder / "iter_000000008", tmp_path / "out", find_family)
    merged = torch.load(tmp_path / "out" / "iter_000000008_reg_model.pt", weights_only=True)
    published = torch.load(base, weights_only=True)
    assert merged.keys() == published.keys()
    state = load_full(folder / "iter_000000008", "model.")
    name = "blocks.block0.blocks.0.block.attn.to_q.0"
    update = 2.0 * state[f"{name}.lora_B.default.weight"] @ state[f"{name}.lora_A.default.weight"]
    torch.testing.assert_close(merged[f"net.{name}.weight"], published[f"net.{name}.weight"] + update)
    assert torch.equal(merged["net.final_layer.linear.weight"], published["net.final_layer.linear.weight"])
    # another file in the place of the first one is noticed
    torch.save({key: tensor * 1.01 for key, tensor in published.items()}, base)
    with pytest.raises(DataError, match="frozen weights"):
        export_checkpoint(folder / "iter_000000008", tmp_path / "out", find_family)
    with pytest.raises(DataError, match="frozen weights"):
        dit.FAMILY.train(apply_overrides(run, ["trainer.max_steps=9"]))
    torch.save(published, base)


def test_what_is_trained() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2))
    network[0].weight.requires_grad_(False)
    network[2].requires_grad_(False)
    buffers = {f"1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert trained_state(network).keys() == {"0.bias", "1.weight", "1.bias"} | buffers
    wanted = sum(float(p.detach().square().sum()) for p in network.parameters() if not p.requires_grad) ** 0.5
    assert frozen_norm(network) == pytest.approx(wanted)
