from __future__ import annotations

import torch

from cosmos_lidar.training.checkpoint.full_tensors import full_tensors
from tests.parallel.ranks import results_of_ranks


def test_sharded_tensors_are_whole_on_the_first_rank_alone() -> None:
    first, second = results_of_ranks(2, "collectives_worker.py")
    assert first["full"] == {"sharded": [0, 1, 2, 3, 4], "plain": [0, 0]}
    assert second["full"] == {}


def test_copies_are_not_the_tensors_themselves() -> None:
    tensor = torch.ones(3, 2, requires_grad=True)
    full = full_tensors({"a": tensor, "turned": tensor.T})
    with torch.no_grad():
        tensor += 1
    assert full["a"].tolist() == [[1, 1]] * 3
    assert full["turned"].is_contiguous()
    assert not full["a"].requires_grad
