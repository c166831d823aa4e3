"""Which place in the data a rank resumes from: its own, that of a rank with the same share, or those of other ranks."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.parallel.mesh import MeshSizes
from cosmos_lidar.training.checkpoint.data_place import DataSource, can_resume, resume_data


class Loader:
    def restore_state_rank(self, state: object) -> None:
        self.state = state


class ElasticLoader(Loader):
    def restore_state_of_ranks(self, states: list[object]) -> None:
        self.state = states


def state(sizes: MeshSizes, workers: int) -> dict:
    ranks = [{"loader": [sizes.data_rank(rank)], "random": f"random {rank}"} for rank in range(sizes.world)]
    return {"mesh": asdict(sizes), "workers": workers, "ranks": ranks}


def test_the_same_share_on_another_mesh() -> None:
    four, tensor = MeshSizes(data_shard=4), MeshSizes(data_shard=4, tensor=2)
    for rank in range(8):
        loader = Loader()
        assert resume_data(state(four, 2), DataSource(loader, 2, tensor), rank) == f"random {rank // 2}"
        assert loader.state == [rank // 2]


def test_other_ranks_get_the_places_of_all() -> None:
    tensor, two, eight = MeshSizes(data_shard=4, tensor=2), MeshSizes(data_shard=2), MeshSizes(data_shard=8)
    loader = ElasticLoader()
    assert resume_data(state(tensor, 2), DataSource(loader, 4, two), 1) == "random 1"
    assert loader.state == [[0], [1], [2], [3]]
    assert resume_data(state(two, 4), DataSource(loader, 1, eight), 5) is None  # there was no rank 5
    assert loader.state == [[0], [1]]


def test_a_new_shuffle_is_asked_for() -> None:
    one, two = MeshSizes(), MeshSizes(data_shard=2)
    message = "of 1 data ranks x 2 data.workers, this run has 2 x 1: Loader cannot resume.*trainer.restart_data=true"
    with pytest.raises(UserError, match=message):
        resume_data(state(one, 2), DataSource(Loader(), 1, two), 0)
    loader = Loader()
    assert resume_data(state(one, 2), DataSource(loader, 1, two, restart=True), 0) is None
    assert not hasattr(loader, "state")


@pytest.mark.parametrize(
    ("before", "now", "fits"),
    [((1, 4), (4, 1), True), ((2, 3), (3, 2), True), ((2, 0), (2, 0), True), ((1, 4), (2, 4), False),
     ((1, 2), (2, 0), False), ((1, 0), (1, 1), False)],
)  # fmt: skip
def test_readers_are_ranks_times_workers(before: tuple[int, int], now: tuple[int, int], fits: bool) -> None:
    assert can_resume(MeshSizes(data_shard=before[0]), before[1], MeshSizes(data_shard=now[0]), now[1]) == fits
