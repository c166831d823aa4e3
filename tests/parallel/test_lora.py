"""Low-rank updates over tensor and data ranks compute what one rank computes; frozen weights stay frozen."""

from __future__ import annotations

import json

import pytest

from tests.parallel.ranks import results_of_ranks

TWO = {
    "shard 2": {"lora": True, "data_shard": 2},
    "tensor 2": {"lora": True, "tensor": 2},
    "flow, tensor 2": {"lora": True, "flow_frames": 2, "tensor": 2},
    "flow, context 2": {"lora": True, "flow_frames": 2, "context": 2},
    "context 2": {"lora": True, "context": 2},
}
FOUR = {"shard 2 x tensor 2": {"lora": True, "data_shard": 2, "tensor": 2}}


@pytest.mark.parametrize(("ranks", "meshes"), [(2, TWO), pytest.param(4, FOUR, marks=pytest.mark.slow)], ids=["2", "4"])
def test_gradients_and_weights_are_those_of_one_rank(ranks: int, meshes: dict) -> None:
    results = results_of_ranks(ranks, "mesh_worker.py", json.dumps(meshes))
    assert list(results) == list(meshes)
    for name, differences in results.items():
        for quantity in ("loss", "norm", "gradients", "weights"):
            assert differences[quantity] < 1e-5, (name, quantity, differences)
