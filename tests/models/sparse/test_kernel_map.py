from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.models.sparse.kernel_map import KernelMap, Step, kernel_cells, strided_map, submanifold_map
from tests.models.sparse.dense import random_voxels

VECTORS = np.load(Path(__file__).parents[2] / "vectors" / "sparse.npz")


def pairs_of(pairs: KernelMap) -> set[tuple[int, int, int]]:
    listed = {
        (part, int(source), int(target))
        for part, where in pairs.parts()
        for source, target in zip(pairs.sources[where], pairs.targets[where], strict=True)
    }
    assert len(listed) == len(pairs.sources)
    own = range(pairs.source_count) if pairs.center is not None else ()
    return listed | {(int(pairs.center or 0), row, row) for row in own}


def test_published_orders_of_the_parts() -> None:
    centered = np.array(kernel_cells((3, 3, 3))) - 1
    assert np.array_equal(centered, VECTORS["A_offsets_k3"])
    assert np.array_equal(kernel_cells((2, 2, 2), x_fastest=False), VECTORS["A_offsets_k2"])


@pytest.mark.parametrize("kernel", [(3, 3, 3), (1, 3, 5)])
def test_submanifold_pairs_are_all_pairs_of_neighbors(kernel: tuple[int, int, int]) -> None:
    sites = random_voxels(shape=(5, 4, 6)).sites
    cells = kernel_cells(kernel)
    found = submanifold_map(sites, cells)
    rows = {tuple(voxel): row for row, voxel in enumerate(sites.coords.tolist())}
    wanted = set()
    for part, cell in enumerate(cells):
        for (batch, *at), target in rows.items():
            neighbor = (batch, *(p + c - size // 2 for p, c, size in zip(at, cell, kernel, strict=True)))
            if neighbor in rows:
                wanted.add((part, rows[neighbor], target))
    assert pairs_of(found) == wanted
    assert found.pair_count == len(wanted)


def test_reversed_pairs_and_their_order_by_target() -> None:
    sites = random_voxels().sites
    step = Step((3, 3, 3), (2, 2, 2), (1, 1, 0))
    made, forth = strided_map(sites, step, kernel_cells(step.kernel))
    back = forth.reversed
    assert pairs_of(back) == {(part, target, source) for part, source, target in pairs_of(forth)}
    assert (back.source_count, back.target_count) == (len(made), len(sites))
    order, bounds = forth.by_target
    assert bounds[-1] == len(order) == len(forth.sources)
    for row in range(len(made)):
        assert (forth.targets[order[bounds[row] : bounds[row + 1]]] == row).all()


def test_strides_of_two_halve_coordinates_below_zero_too() -> None:
    x = random_voxels(shape=(9, 9, 9))
    coords = x.coords - torch.tensor([0, 4, 5, 3])
    sites = type(x.sites)(coords, clouds=2)
    step = Step((2, 2, 2), (2, 2, 2), (0, 0, 0))
    made, pairs = strided_map(sites, step, kernel_cells(step.kernel, x_fastest=False))
    parents = coords.div(torch.tensor([1, 2, 2, 2]), rounding_mode="floor")
    assert torch.equal(made.coords, parents.unique(dim=0))
    assert torch.equal(pairs.sources.sort()[0], torch.arange(len(coords)))
    assert torch.equal(made.coords[pairs.targets], parents[pairs.sources])
