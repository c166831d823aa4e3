"""Per-step flags of all ranks, all-gathered once before the optimizer step.

Loss, non-finite, signal, retry of a save, unusable samples so far, seconds of own work, run folder taken over.
"""

from __future__ import annotations

import torch
import torch.distributed as dist

NAMES = ("loss", "bad", "signal", "save_again", "bad_samples", "own_s", "taken_over")


class StepFlags:
    """Flags of this rank, and after :meth:`exchange` those of every rank.

    Attributes:
        own: flags of this rank for the next exchange, by name of :data:`NAMES`.
        ranks: flags of the last exchange by name, each a list in rank order.
    """

    def __init__(self) -> None:
        self.own = dict.fromkeys(NAMES, 0.0)
        self.ranks: dict[str, list[float]] = {name: [0.0] for name in NAMES}

    def exchange(self, device: torch.device) -> None:
        """All-gather the flags; every rank calls this once per step."""
        values = torch.tensor([self.own[name] for name in NAMES], dtype=torch.float64, device=device)
        table = values[None]
        if dist.is_initialized() and dist.get_world_size() > 1:
            table = values.new_empty(dist.get_world_size(), len(NAMES))
            dist.all_gather_into_tensor(table, values[None])  # gloo compares the shapes of the parts
        self.ranks = dict(zip(NAMES, table.T.tolist(), strict=True))

    def max_over_ranks(self, name: str) -> int:
        """Return the largest value of a flag over all ranks."""
        return int(max(self.ranks[name]))

    def mean_over_ranks(self, name: str) -> float:
        """Return the mean of a flag over all ranks."""
        return sum(self.ranks[name]) / len(self.ranks[name])
