"""The sparse backbone MinkUNet34 on two whole sweeps: kernel maps, forward, backward, beside its matrix products."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import sparse_conv

from gpu_parts.common import Options, Row, attempts


def rows(options: Options) -> Iterator[Row]:
    """Yield seconds and GB of voxels of 5 and of 10 cm."""
    sizes = (0.1,) if options.tiny else (0.05, 0.1)
    works = {f"MinkUNet34, {100 * size:g} cm": lambda size=size: measure(options, size) for size in sizes}
    yield from attempts(options, works)


def measure(options: Options, size: float) -> Row:
    """Measure one size of voxels."""
    most, backbone = (500, "minkunet18") if options.tiny else (1 << 30, "minkunet34")
    args = argparse.Namespace(datasets=[f"street@{size}"] * 2, most_points=most, device=options.device,
                              repeats=1 if options.tiny else 5, backbone=backbone)  # fmt: skip
    return sparse_conv.numbers(args)
