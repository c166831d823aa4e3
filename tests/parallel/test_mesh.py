from __future__ import annotations

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.plan import ParallelPlan
from cosmos_lidar.models.tokenizer import build_tokenizer
from cosmos_lidar.parallel.mesh import MeshSizes, check_plan, mesh_sizes


def test_sizes_of_a_mesh() -> None:
    sizes = mesh_sizes(0, 2, 2, 1, world=8)
    assert sizes == MeshSizes(data_replicate=2, data_shard=2, context=2)
    assert (sizes.data, sizes.world, [sizes.data_rank(rank) for rank in range(8)]) == (4, 8, [0, 0, 1, 1, 2, 2, 3, 3])
    assert str(sizes) == "data_replicate 2 x data_shard 2 x context 2"
    assert str(mesh_sizes(0, 1, 1, 1, world=1)) == "one process"


@pytest.mark.parametrize(
    ("asked", "world", "message"),
    [
        ((2, 2, 1, 1), 8, "does not make the 8 processes.*valid: .*parallel.data_shard=8"),
        ((0, 1, 3, 1), 4, "valid: start 3 processes"),
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
        (MeshSizes(tensor=3), "ulysses", "parallel.tensor=3 does not divide the 4 heads; valid: 1, 2, 4"),
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
