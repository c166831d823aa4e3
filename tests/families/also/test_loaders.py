"""Rows of voxels in a batch of sweeps."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("megatron.energon")

from cosmos_lidar.families.also.loaders import VoxelRows
from energon_tasks.batches import Ragged


def test_rows_count_on_from_sweep_to_sweep_and_none_stays_none() -> None:
    batch = VoxelRows()
    batch.coords = Ragged.from_list([torch.zeros(2, 3, dtype=torch.int64), torch.ones(3, 3, dtype=torch.int64)])
    batch.points = Ragged.from_list([torch.zeros(3, 3), torch.zeros(2, 3)])
    batch.voxel_of_point = Ragged.from_list([torch.tensor([1, -1, 0]), torch.tensor([2, -1])])
    assert batch.voxels.tolist() == [[0, 0, 0, 0]] * 2 + [[1, 1, 1, 1]] * 3
    assert batch.voxel_rows.tolist() == [1, -1, 0, 4, -1]
