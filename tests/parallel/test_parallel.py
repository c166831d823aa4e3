"""Several gloo processes compute what one computes: losses, gradients, two optimizer steps, on every kind of mesh."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.plan import ParallelPlan
from cosmos_lidar.models.tokenizer import build_tokenizer
from cosmos_lidar.parallel.clip import clip_gradients
from cosmos_lidar.parallel.mesh import MeshSizes, check_plan, mesh_sizes
from cosmos_lidar.parallel.spatial import check_width
from tests.workers.client import torchrun as start_ranks

FOLDER = Path(__file__).parents[1] / "workers"
TWO = {
    "shard 2": {"data_shard": 2},
    "replicate 2": {"data_replicate": 2},
    "tensor 2": {"tensor": 2},
    "context 2": {"context": 2},
    "context 2 by gathering": {"context": 2, "attention": "gather"},
    "rays, tensor 2": {"rays": True, "tensor": 2},
    "rays, context 2": {"rays": True, "context": 2},
    "rays, context 2 by gathering": {"rays": True, "context": 2, "attention": "gather"},
    "recomputed": {"data_shard": 2, "recompute": "full"},
    "recomputed but for attention": {"context": 2, "recompute": "selective"},
}
FOUR = {
    "replicate 2 x shard 2": {"data_replicate": 2, "data_shard": 2},
    "tensor 2 x context 2": {"tensor": 2, "context": 2},
    "shard 2 x tensor 2": {"data_shard": 2, "tensor": 2},
    "shard 2 x context 2": {"data_shard": 2, "context": 2},
    "context 4": {"context": 4},
}


def torchrun(processes: int, script: str, *arguments: str) -> dict[str, dict[str, float]]:
    done = start_ranks(processes, FOLDER / script, *arguments)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.parametrize(
    ("processes", "meshes"),
    [(1, {"one": {}}), (2, TWO), pytest.param(4, FOUR, marks=pytest.mark.slow)],
    ids=["1", "2", "4"],
)
def test_transformer_on_a_mesh_is_that_of_one_process(processes: int, meshes: dict) -> None:
    results = torchrun(processes, "mesh_worker.py", json.dumps(meshes))
    assert list(results) == list(meshes)
    for name, differences in results.items():
        for quantity in ("loss", "norm", "gradients", "weights"):
            assert differences[quantity] < 1e-5, (name, quantity, differences)


@pytest.mark.parametrize("processes", [2, 4])
def test_tokenizer_on_slices_of_the_width_is_that_of_one_process(processes: int) -> None:
    results = torchrun(processes, "spatial_worker.py")
    assert len(results) == 6
    for name, differences in results.items():
        limit = 1e-12 if "float64" in name or name == "DV8x16x16" else 1e-5
        for quantity in ("latent", "reconstruction", "gradients"):
            assert differences[quantity] < limit, (name, quantity, differences)


def test_sizes_of_a_mesh() -> None:
    sizes = mesh_sizes(0, 2, 2, 1, world=8)
    assert sizes == MeshSizes(data_replicate=2, data_shard=2, context=2)
    assert (sizes.data, sizes.world, [sizes.data_rank(rank) for rank in range(8)]) == (4, 8, [0, 0, 1, 1, 2, 2, 3, 3])
    assert str(sizes) == "data_replicate 2 x data_shard 2 x context 2"
    assert str(mesh_sizes(0, 1, 1, 1, world=1)) == "one process"


@pytest.mark.parametrize(
    ("asked", "world", "message"),
    [
        ((2, 2, 1, 1), 8, "does not make the 8 processes.*parallel.data_shard=8 would do"),
        ((0, 1, 3, 1), 4, "start 3 processes would do"),
        ((0, 0, 1, 1), 4, "parallel.data_shard=0: at least 1"),
        ((0, 4, 1, 2), 4, "does not make the 4 processes"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_with_the_fix(asked: tuple, world: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        mesh_sizes(*asked, world=world)


@pytest.mark.parametrize(
    ("sizes", "attention", "message"),
    [
        (MeshSizes(tensor=3), "ulysses", "parallel.tensor=3 does not divide the 4 heads: 1, 2, 4 would do"),
        (MeshSizes(context=4, tensor=2), "ulysses", "context=4 does not divide the 2 heads.*attention=gather"),
    ],
)
def test_heads_that_do_not_divide_are_refused(sizes: MeshSizes, attention: str, message: str) -> None:
    plan = build_dit("faditv2_debug").parallel_plan()
    with pytest.raises(UserError, match=message):
        check_plan(sizes, plan, attention)
    check_plan(MeshSizes(context=3), plan, "gather")  # gathering works with any number


def test_a_network_without_such_layers_is_refused() -> None:
    with pytest.raises(UserError, match="no layers to split: parallel.tensor=1"):
        check_plan(MeshSizes(tensor=2), build_tokenizer("CI8x8", channels=32).parallel_plan())
    with pytest.raises(UserError, match="cannot share a sample: parallel.context=1"):
        check_plan(MeshSizes(context=2), ParallelPlan(blocks=()))


def test_width_that_cannot_be_shared_names_the_next_sizes() -> None:
    check_width(64, 4, 8)
    with pytest.raises(UserError, match="a width of 72 cannot be shared by 4 processes.*64 or 96 would do"):
        check_width(72, 4, 8)


def test_every_name_in_a_plan_is_a_module() -> None:
    for network in (build_dit("faditv2_debug"), build_tokenizer("CI8x8", channels=32), build_tokenizer("DV4x8x8")):
        plan = network.parallel_plan()
        names = (*plan.blocks, *plan.units, *plan.attention, *plan.column, *plan.row, *plan.head_norms)
        assert all(network.get_submodule(name) is not None for name in names)
        assert plan.blocks
        assert all(hasattr(network, method) for method in plan.methods)


def test_clipping_of_plain_tensors_is_that_of_torch() -> None:
    torch.manual_seed(0)
    ours, theirs = ([torch.randn(5, 3).requires_grad_(), torch.randn(7).requires_grad_()] for _ in range(2))
    for a, b in zip(ours, theirs, strict=True):
        a.grad = torch.randn_like(a)
        b.grad = a.grad.clone()
    assert torch.allclose(clip_gradients(ours, 0.5), torch.nn.utils.clip_grad_norm_(theirs, 0.5))
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a.grad, b.grad)
