from __future__ import annotations

import json

import pytest

from tests.parallel.ranks import results_of_ranks

TWO = {
    "shard 2": {"data_shard": 2},
    "replicate 2": {"data_replicate": 2},
    "tensor 2": {"tensor": 2},
    "context 2": {"context": 2},
    "context 2 by gathering": {"context": 2, "attention": "gather"},
    "rays, tensor 2": {"rays": True, "tensor": 2},
    "rays, context 2": {"rays": True, "context": 2},
    "rays, context 2 by gathering": {"rays": True, "context": 2, "attention": "gather"},
    "flow, shard 2": {"flow_frames": 2, "data_shard": 2},
    "flow, tensor 2": {"flow_frames": 2, "tensor": 2},
    "flow, context 2 over time": {"flow_frames": 2, "context": 2},
    "flow, context 2 over space": {"flow_frames": 3, "context": 2},
    "flow, context 2 over space by gathering": {"flow_frames": 1, "context": 2, "attention": "gather"},
    "flow, context 2 recomputed": {"flow_frames": 2, "context": 2, "recompute": "selective"},
    "same view or frame, context 2 over time": {"flow_frames": 2, "scope": "same_view_or_frame", "context": 2},
    "same view or frame, over space by gathering": {
        "flow_frames": 3,
        "scope": "same_view_or_frame",
        "context": 2,
        "attention": "gather",
    },
    "same view or frame, over time by gathering": {
        "flow_frames": 2,
        "scope": "same_view_or_frame",
        "context": 2,
        "attention": "gather",
    },
    "recomputed": {"data_shard": 2, "recompute": "full"},
    "recomputed but for attention": {"context": 2, "recompute": "selective"},
}
FOUR = {
    "replicate 2 x shard 2": {"data_replicate": 2, "data_shard": 2},
    "tensor 2 x context 2": {"tensor": 2, "context": 2},
    "shard 2 x tensor 2": {"data_shard": 2, "tensor": 2},
    "shard 2 x context 2": {"data_shard": 2, "context": 2},
    "context 4": {"context": 4},
    "flow, context 4 over time and space": {"flow_frames": 2, "context": 4},
    "same view or frame, context 4": {"flow_frames": 2, "scope": "same_view_or_frame", "context": 4},
    "flow, context 4 over space": {"flow_frames": 3, "context": 4},
    "flow, tensor 2 x context 2": {"flow_frames": 2, "tensor": 2, "context": 2},
}


@pytest.mark.parametrize(
    ("processes", "meshes"),
    [(1, {"one": {}}), (2, TWO), pytest.param(4, FOUR, marks=pytest.mark.slow)],
    ids=["1", "2", "4"],
)
def test_transformer_on_a_mesh_is_that_of_one_process(processes: int, meshes: dict) -> None:
    results = results_of_ranks(processes, "mesh_worker.py", json.dumps(meshes))
    assert list(results) == list(meshes)
    for name, differences in results.items():
        for quantity in ("loss", "norm", "gradients", "weights"):
            assert differences[quantity] < 1e-5, (name, quantity, differences)
