from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.sparse.decimation import decimate

VECTORS = np.load(Path(__file__).parents[2] / "vectors" / "occupancy.npz")
SWEEP = "nuscenes/samples/LIDAR_TOP/n015-2018-07-24-11-22-45+0800__LIDAR_TOP__1532402927647951.pcd.bin"


def test_published_indices_of_a_real_sweep(test_data: Path) -> None:
    points = torch.from_numpy(np.fromfile(test_data / SWEEP, np.float32).reshape(-1, 5)[:, :3].copy())
    kept = decimate(points, 0.1)
    assert [len(points), len(kept)] == VECTORS["C_nus_decim_n"].tolist()
    assert kept[:2000].tolist() == VECTORS["C_nus_decim_idx_first2000"].tolist()
    assert int(kept.sum()) == VECTORS["C_nus_decim_idx_sum"]


def test_the_lowest_index_of_each_cell_and_double_cells_beside_zero() -> None:
    points = torch.tensor([[2.5, 0, 0], [-0.9, 0, 0], [0.9, 0, 0], [2.1, 0, 0], [-1.1, 0, 0], [0.0, 1.0, 0]])
    assert decimate(points, 1.0).tolist() == [4, 1, 5, 0]


def test_clouds_without_cells_are_named() -> None:
    with pytest.raises(DataError, match="empty sweep"):
        decimate(torch.zeros(0, 3), 0.1)
    with pytest.raises(DataError, match="x from"):
        decimate(torch.tensor([[float("nan"), 0, 0], [1.0, 0, 0]]), 0.1)
    with pytest.raises(DataError, match="x from 10000"):
        decimate(torch.tensor([[1e4, 0.0, 0.0]]), 0.01)
