"""What the processes tell each other once per step, before the update: one small exchange for all who want to know."""

from __future__ import annotations

import torch
import torch.distributed as dist

NAMES = ("loss", "bad", "signal", "save_again")


class Votes:
    """Numbers of this process, and after :meth:`exchange` those of everyone.

    Attributes:
        own: what this process says next, by name of :data:`NAMES`.
        everyone: what each process said last, by name, in rank order.
    """

    def __init__(self) -> None:
        self.own = dict.fromkeys(NAMES, 0.0)
        self.everyone: dict[str, list[float]] = {name: [0.0] for name in NAMES}

    def exchange(self, device: torch.device) -> None:
        """Ask all processes; each of them calls this once per step."""
        values = torch.tensor([self.own[name] for name in NAMES], dtype=torch.float64, device=device)
        table = values[None]
        if dist.is_initialized() and dist.get_world_size() > 1:
            table = values.new_empty(dist.get_world_size(), len(NAMES))
            dist.all_gather_into_tensor(table, values[None])  # gloo compares the shapes of the parts
        self.everyone = dict(zip(NAMES, table.T.tolist(), strict=True))

    def highest(self, name: str) -> int:
        """Return the largest number that a process said."""
        return int(max(self.everyone[name]))
