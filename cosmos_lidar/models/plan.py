"""Parallelization plan published by a network: module names for TP, CP, activation checkpointing and FSDP units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ParallelPlan:
    """How a network can be parallelized.

    Attributes:
        blocks: names of the modules that are activation-checkpointed and compiled one by one, in execution order.
        units: names of the FSDP units, whose weights are all-gathered together; the blocks where empty.
        methods: entry methods of the root beside ``forward``.
        attention: names of the modules whose ``attend(q, k, v)`` mixes all tokens (self-attention).
        column: names of linear layers that can be column-parallel (split by outputs).
        row: names of linear layers that can be row-parallel (split by inputs); they follow the ``column`` ones.
        head_norms: names of per-head norms, on (B, L, heads, D).
        heads: attention heads; the TP size must divide them. 0 without attention.
        context: ``sequence`` (tokens, through the network's ``sequence`` attribute), ``width`` (columns of images),
            or empty where samples cannot be split over ranks.
        compression: for ``width``: input columns of one latent column.
        casts_inputs: in bf16, inputs of the FSDP units are rounded to bf16 before ``forward`` sees them; False: the
            network casts what it takes itself, as some of it (times) has to stay fp32.
    """

    blocks: tuple[str, ...]
    units: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    attention: tuple[str, ...] = ()
    column: tuple[str, ...] = ()
    row: tuple[str, ...] = ()
    head_norms: tuple[str, ...] = ()
    heads: int = 0
    context: str = ""
    compression: int = 1
    casts_inputs: bool = True


def count_parameters(network: nn.Module) -> int:
    """Return the number of parameters of a network, on any device."""
    return sum(parameter.numel() for parameter in network.parameters())
