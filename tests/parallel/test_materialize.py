"""Networks of the meta device, filled shard by shard: the same numbers as whole ones, in a fraction of the memory."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cosmos_lidar.models.deferred import build_deferred
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.stored_weights import StoredWeights
from cosmos_lidar.models.tokenizer import build_tokenizer
from cosmos_lidar.parallel.materialize import fill, materialize, with_weights
from tests.workers import memory_worker
from tests.workers.client import torchrun

WORKERS = Path(__file__).parents[1] / "workers"
TWO = {
    "shard 2": {"data_shard": 2},
    "replicate 2": {"data_replicate": 2},
    "tensor 2": {"tensor": 2},
    "context 2": {"context": 2},
    "bf16": {"data_shard": 2, "precision": "bf16"},
    "low-rank updates, tensor 2": {"tensor": 2, "kind": "adapted"},
    "low-rank updates, shard 2": {"data_shard": 2, "kind": "adapted"},
    "tokenizer, shard 2": {"data_shard": 2, "kind": "tokenizer"},
    "tokenizer, context 2": {"context": 2, "kind": "tokenizer"},
}
FOUR = {
    "shard 2 x tensor 2": {"data_shard": 2, "tensor": 2},
    "replicate 2 x shard 2": {"data_replicate": 2, "data_shard": 2},
    "shard 2 x context 2": {"data_shard": 2, "context": 2},
    "context 2 x tensor 2": {"context": 2, "tensor": 2, "kind": "adapted"},
}


@pytest.mark.parametrize(("ranks", "meshes"), [(2, TWO), pytest.param(4, FOUR, marks=pytest.mark.slow)], ids=["2", "4"])
def test_shards_are_those_of_a_whole_network(ranks: int, meshes: dict[str, Any]) -> None:
    done = torchrun(ranks, WORKERS / "materialize_worker.py", json.dumps(meshes))
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("name", ["CI8x8", "DI8x8", "CV8x8x8", "DV8x16x16"])
def test_one_process_computes_what_it_did(name: str) -> None:
    def build() -> nn.Module:
        return build_tokenizer(name, channels=32, num_res_blocks=1)

    torch.manual_seed(2)
    whole = build().eval()
    torch.manual_seed(2)
    network = with_weights(*build_deferred(build)).eval()
    x = torch.randn((1, 3, 16, 16) if name[1] == "I" else (1, 3, 9, 16, 16))
    with torch.no_grad():
        ours, theirs = (made(x)[0] for made in (network, whole))
    assert torch.equal(ours, theirs)


def test_shared_parameters_stay_shared() -> None:
    def build() -> nn.Module:
        network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
        network[1].weight = network[0].weight
        return network

    network = with_weights(*build_deferred(build))
    assert network[0].weight is network[1].weight


def test_the_first_source_that_has_a_name_gives_the_value() -> None:
    network, sources = build_deferred(lambda: build_dit("faditv2_debug"))
    names = ["final_layer.linear.weight", "pos_embedder.seq"]
    stored = {name: torch.full(network.state_dict()[name].shape, 3.0) for name in names}
    kept = network.affline_norm.weight
    materialize(network, "cpu")
    assert network.affline_norm.weight is not kept
    with torch.no_grad():
        network.affline_norm.weight.fill_(7.0)
    fill(network, [StoredWeights(stored), *sources], without=["affline_norm.weight"])
    assert torch.equal(network.final_layer.linear.weight.detach(), stored[names[0]])
    assert torch.equal(network.pos_embedder.seq, stored[names[1]])
    assert torch.equal(network.affline_norm.weight.detach(), torch.full((96,), 7.0))
    assert float(network.t_embedder[1].linear_1.weight.detach().abs().max()) > 0


def measure(what: str, path: Path) -> list[dict[str, Any]]:
    """Return what two ranks say of their memory."""
    done = torchrun(2, WORKERS / "memory_worker.py", what, path)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return [json.loads(line.removeprefix("RESULT ")) for line in lines]


def check(found: list[dict[str, Any]]) -> None:
    """Each rank of two took 1.2 of its shard of 0.5 GB, and 0.3 GB beside, at most."""
    assert len(found) == 2
    for rank in found:
        assert rank["shard"] == pytest.approx(0.5e9, rel=0.01)
        assert rank["peak"] - rank["base"] < 1.2 * rank["shard"] + 0.3e9
        predicted = rank["shard"] + rank["largest"]  # Prediction.loading
        assert rank["peak"] - rank["base"] == pytest.approx(predicted, rel=0.15)


def write_sparse(path: Path, marks: dict[str, float]) -> None:
    """Write the worker's network as a safetensors file of holes, whose tensors begin with a given number."""
    with torch.device("meta"):
        state = memory_worker.build().state_dict()
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in state.items():
        begin, end = end, end + 4 * tensor.numel()
        header[f"net.{name}"] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for name, mark in marks.items():
            stream.seek(8 + len(text) + header[f"net.{name}"]["data_offsets"][0])
            stream.write(struct.pack("<f", mark))
        stream.truncate(8 + len(text) + end)


def test_a_published_file_is_loaded_in_the_memory_of_the_shards(tmp_path: Path) -> None:
    first, last = memory_worker.LOOKED_AT
    write_sparse(tmp_path / "model.safetensors", {first: 2.0, last: 5.0})
    found = measure("file", tmp_path / "model.safetensors")
    check(found)
    assert [rank["sums"] for rank in found] == [[2.0, 5.0]] * 2


@pytest.mark.slow  # writes and reads a checkpoint of 1 GB, which is hashed
def test_random_weights_and_checkpoints_take_the_memory_of_the_shards(tmp_path: Path) -> None:
    saved = measure("save", tmp_path)
    check(saved)
    resumed = measure("resume", tmp_path / "iter_000000001")
    check(resumed)
    assert resumed[0]["sums"] == saved[0]["sums"]
    assert saved[0]["sums"][0] == pytest.approx(float(_initial(memory_worker.LOOKED_AT[0])), rel=1e-6)


def _initial(name: str) -> torch.Tensor:
    _, (weights,) = build_deferred(memory_worker.build)
    return weights.read(name).double().sum()
