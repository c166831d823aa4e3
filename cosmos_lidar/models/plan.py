"""What a network says of itself to whoever spreads it over processes: names of modules, nothing else."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ParallelPlan:
    """How a network can be divided.

    Attributes:
        blocks: names of the modules that are recomputed and compiled one at a time, in order of their work.
        units: names of the modules whose weights are gathered together; the blocks where empty.
        methods: methods of the root, beside ``forward``, that a caller starts from.
        attention: names of the modules whose ``attend(q, k, v)`` mixes all tokens (self-attention).
        column: names of linear layers that can be split by outputs.
        row: names of linear layers that can be split by inputs; they follow the ``column`` ones.
        head_norms: names of norms that work on each head by itself, on (B, L, heads, D).
        heads: attention heads; what splits over heads must divide them. 0 where nothing does.
        context: ``sequence`` (tokens, through the network's ``sequence`` attribute), ``width`` (columns of pictures),
            or empty where samples cannot be shared.
        compression: for ``width``: input columns of one latent column.
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
