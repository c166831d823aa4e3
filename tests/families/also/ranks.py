"""A training of three steps on given sweeps: one process has all of a step, several share them.

``python ranks.py key=value …`` (or as ranks) trains and prints a line ``RESULT FOLDER``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

from cosmos_lidar.families.also.job import open_network
from cosmos_lidar.families.also.pretrain import PretrainModel
from cosmos_lidar.recipes import also_pretrain
from cosmos_lidar.training.config import OptimConfig
from cosmos_lidar.training.engine import DataShare, Job, Session
from cosmos_lidar.training.overrides import apply_overrides
from tests.families.also.clouds import DATA, MINK, batch_of, cloud

_STEP = 4  # sweeps of a step


class GivenSweeps:
    """Sweeps 0 to 3, then 4 to 7, …; of each step a rank reads its share, of unlike numbers of points."""

    def __init__(self, share: DataShare) -> None:
        self.share, self.step = share, 0

    def __iter__(self) -> Iterator[Any]:
        while True:
            first = self.step * _STEP
            self.step += 1
            own = _STEP // self.share.world
            numbers = range(first + self.share.rank * own, first + (self.share.rank + 1) * own)
            yield batch_of([cloud(number, MINK) for number in numbers])

    def save_state_rank(self) -> dict[str, int]:
        """Return the step."""
        return {"step": self.step}

    def restore_state_rank(self, state: dict[str, int]) -> None:
        """Resume from there."""
        self.step = state["step"]


def main() -> None:
    """Train as the options say; the large eps keeps Adam from magnifying rounding errors."""
    run = also_pretrain.debug()
    run.model, run.data = MINK, DATA
    run.optim = OptimConfig(lr=1e-2, eps=1e-3, clip_norm=0.5)
    with Session(apply_overrides(run, ["trainer.max_steps=3", "trainer.export=false", *sys.argv[1:]])) as session:
        network, weights = open_network(session.run)
        model = PretrainModel(session.run, network, session.folder)
        model.weights = weights
        own = _STEP // session.share.world
        result = session.fit(Job(model, GivenSweeps(session.share), None, own, 0, "scratch", None))
    if os.environ.get("RANK", "0") == "0":
        sys.stdout.write(f"RESULT {result.folder}\n")


if __name__ == "__main__":
    main()
