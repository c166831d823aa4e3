from __future__ import annotations

import torch

from cosmos_lidar.models.sparse.groups import first_of_each, occupied_cells, sorted_groups


def test_the_first_of_each_group() -> None:
    assert first_of_each(torch.tensor([2, 0, 2, 1, 0]), 3).tolist() == [1, 3, 0]


def test_indices_group_by_group() -> None:
    order, bounds = sorted_groups(torch.tensor([2, 0, 2, 1, 0]), 5)
    assert order.tolist() == [1, 4, 3, 0, 2]
    assert bounds.tolist() == [0, 2, 3, 5, 5, 5]


def test_cells_are_in_the_order_of_their_coordinates() -> None:
    of_point, first = occupied_cells(torch.tensor([[1, 0, 0], [0, 2, -1], [1, 0, 0], [0, 0, 5], [0, 2, -1]]))
    assert of_point.tolist() == [2, 1, 2, 0, 1]
    assert first.tolist() == [3, 1, 0]
