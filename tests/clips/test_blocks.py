from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from cosmos_lidar.clips.blocks import BLOCK, block_size, blocks, move_points, select


@pytest.mark.parametrize("count", [0, 1, BLOCK, BLOCK + 1, 3 * BLOCK - 1])
def test_blocks_cover_everything_once(count):
    covered = np.concatenate([np.arange(count)[part] for part in blocks(count)] or [np.zeros(0, int)])
    assert covered.tolist() == list(range(count))
    assert all(part.stop - part.start <= BLOCK for part in blocks(count))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moving_takes_little_memory(dtype):
    points = np.zeros((100_000, 3), np.float32)
    assert block_size(len(points)) == 12_500
    tracemalloc.start()
    move_points(points, np.eye(3, dtype=dtype), np.ones(3, dtype))
    assert tracemalloc.get_traced_memory()[1] < 0.3 * points.nbytes
    tracemalloc.stop()
    assert (points == 1).all()


def test_points_are_moved_where_they_are():
    points = np.random.default_rng(0).normal(size=(2 * BLOCK + 5, 3)).astype(np.float32)
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    expected = np.stack([-points[:, 1] + 1, points[:, 0] + 2, points[:, 2] + 3], 1)
    moved = points.copy()
    move_points(moved, turn, np.array([1.0, 2, 3]))
    assert np.abs(moved - expected).max() < 1e-6
    move_points(points, turn.astype(np.float32))
    assert np.abs(points - (expected - [1, 2, 3])).max() < 1e-6


def test_selecting_all_copies_nothing():
    values = np.arange(4)
    assert select(values, np.ones(4, bool)) is values
    assert select(values, np.array([True, False, True, False])).tolist() == [0, 2]
