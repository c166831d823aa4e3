"""Kernel maps of sparse convolutions: which input row meets which output row under which part of the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from cosmos_lidar.models.sparse.groups import sorted_groups
from cosmos_lidar.models.sparse.keys import pack_keys, shifts
from cosmos_lidar.models.sparse.sites import Sites

Triple = tuple[int, int, int]


class Step(NamedTuple):
    """One strided convolution, as far as its output sites depend on it; all along x, y, z."""

    kernel: Triple
    stride: Triple
    padding: Triple


@dataclass(frozen=True, eq=False)
class KernelMap:
    """Pairs of rows, ordered by part of the kernel and then by output row.

    Attributes:
        sources: (P,) int64 rows of the input.
        targets: (P,) int64 rows of the output.
        counts: pairs of each part of the kernel.
        source_count: rows of the input.
        target_count: rows of the output.
        center: part of the kernel that takes every row to itself; its pairs are not listed.
    """

    sources: Tensor
    targets: Tensor
    counts: tuple[int, ...]
    source_count: int
    target_count: int
    center: int | None = None

    def parts(self) -> Iterator[tuple[int, slice]]:
        """Yield each part of the kernel that has pairs, and where they are."""
        start = 0
        for part, count in enumerate(self.counts):
            if count:
                yield part, slice(start, start + count)
            start += count

    @cached_property
    def pair_count(self) -> int:
        """Products of one row and one part of the kernel, those of the center too."""
        return sum(self.counts) + (self.source_count if self.center is not None else 0)

    @cached_property
    def reversed(self) -> KernelMap:
        """The map from outputs to inputs under the same parts: of gradients, and of inverse convolutions."""
        return KernelMap(self.targets, self.sources, self.counts, self.target_count, self.source_count, self.center)

    @cached_property
    def by_target(self) -> tuple[Tensor, Tensor]:
        """Pairs in the order of output rows, and (target_count + 1,) where those of each output row begin."""
        return sorted_groups(self.targets, self.target_count)


def kernel_cells(kernel: Triple, x_fastest: bool = True) -> list[Triple]:
    """Return the cells (x, y, z) of a kernel, from 0, in the order of its weights.

    Args:
        kernel: cells along x, y, z.
        x_fastest: x changes fastest and z slowest; else the other way round.
    """
    if x_fastest:
        return [(x, y, z) for z, y, x in product(*(range(size) for size in reversed(kernel)))]
    return [(x, y, z) for x, y, z in product(*(range(size) for size in kernel))]


def submanifold_map(sites: Sites, cells: list[Triple]) -> KernelMap:
    """Return the map of a convolution whose outputs are at the sites of its inputs.

    Args:
        sites: of input and output.
        cells: of a kernel of odd size; mirrored, they have the reverse order.
    """
    half = len(cells) // 2
    center = cells[half]
    offsets = torch.tensor([[a - b for a, b in zip(cell, center, strict=True)] for cell in cells])
    wanted = sites.keys + shifts(offsets[:half]).to(sites.keys.device)[:, None]
    rows, found = sites.find(wanted)
    counts = found.sum(1).tolist()
    targets, sources = found.nonzero()[:, 1], rows[found]
    # what p is to its neighbor under one cell, the neighbor is to p under the mirrored one
    mirrored = [(targets_k, sources_k) for targets_k, sources_k in _split(counts, targets, sources)][::-1]
    return KernelMap(
        torch.cat([sources, *(pair[0] for pair in mirrored)]),
        torch.cat([targets, *(pair[1] for pair in mirrored)]),
        (*counts, 0, *counts[::-1]),
        len(sites),
        len(sites),
        center=half,
    )


def _split(counts: list[int], *rows: Tensor) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(one.split(counts) for one in rows), strict=True)


def strided_map(sites: Sites, step: Step, cells: list[Triple]) -> tuple[Sites, KernelMap]:
    """Return output sites and map of a strided convolution: output o reads inputs o * stride - padding + cell.

    There is an output wherever an input falls into its kernel; outputs are in the order of batch, x, y, z.

    Args:
        sites: of the input.
        step: kernel, stride and padding.
        cells: of the kernel, in the order of its weights.
    """
    device = sites.coords.device
    stride, padding = (torch.tensor(value, device=device) for value in (step.stride, step.padding))
    shape = output_shape(sites.shape, step)
    moved = sites.coords[:, 1:] + padding - torch.tensor(cells, device=device)[:, None]  # (K, N, 3)
    outputs = moved.div(stride, rounding_mode="floor")
    met = (outputs * stride == moved).all(2)
    if shape is not None:
        met &= ((outputs >= 0) & (outputs < torch.tensor(shape, device=device))).all(2)
    counts = met.sum(1).tolist()
    sources = met.nonzero()[:, 1]
    keys = pack_keys(torch.cat([sites.coords[sources, :1], outputs[met]], 1))
    unique, targets = keys.unique(return_inverse=True)
    made = Sites.of_keys(unique, sites.clouds, shape)
    return made, KernelMap(sources, targets, tuple(counts), len(sites), len(made))


def output_shape(shape: Triple | None, step: Step) -> Triple | None:
    """Return the cells of the grid after a strided convolution, (n + 2 padding - kernel) // stride + 1 of each axis."""
    if shape is None:
        return None
    x, y, z = ((n + 2 * p - k) // s + 1 for n, k, s, p in zip(shape, *step, strict=True))
    return x, y, z
