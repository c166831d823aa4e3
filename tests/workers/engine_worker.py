"""One process of a training run in which something happens; prints a JSON line with how it ended.

``engine_worker.py SCENARIO FAMILY key=value …`` where SCENARIO is a JSON object: ``nan``, ``bad_gradient``, ``hang`` or
``signal`` name the step (from 1) at which the last rank meets it; ``runs`` lists further options of runs, one after the
other.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import replace
from typing import Any

import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.recipes.registry import find_family
from cosmos_lidar.training.family import Family
from cosmos_lidar.training.guards.hangs import HangWatch
from cosmos_lidar.training.model import TrainedModel
from cosmos_lidar.training.overrides import apply_overrides

KEPT: list[Any] = []  # loaders with workers take seconds to be dropped: they go with the process


def main() -> None:
    scenario, family = json.loads(sys.argv[1]), find_family(sys.argv[2])
    victim = int(os.environ.get("RANK", 0)) == int(os.environ.get("WORLD_SIZE", 1)) - 1
    clips: list[list[str]] = []
    train = TrainedModel.training_step

    def step(self: TrainedModel, batch: Any, index: int) -> torch.Tensor:
        number = self.global_step + 1
        batches = batch if isinstance(batch, list) else [batch]
        clips.append([clip for one in batches for clip in one.clip_ids])
        if victim and scenario.get("nan") == number:
            poisoned = replace(batches[-1], latents=batches[-1].latents * float("nan"))
            batch = [*batches[:-1], poisoned] if isinstance(batch, list) else poisoned
        if victim and scenario.get("bad_gradient") == number:
            own = self.step

            def with_bad_gradient(batch: Any) -> dict[str, torch.Tensor]:
                values = own(batch)
                if values["loss"].requires_grad:
                    values["loss"].register_hook(lambda gradient: gradient * float("nan"))
                return values

            self.step = with_bad_gradient
        if scenario.get("hang") == number:
            for watch in (one for one in self.trainer.callbacks if isinstance(one, HangWatch)):
                watch.timeout_s = 10.0  # from here on nothing moves, however fast the machine is
            if victim:
                time.sleep(600)
        if victim and scenario.get("signal") == number:
            os.kill(os.getpid(), signal.SIGUSR1)
        return train(self, batch, index)

    TrainedModel.training_step = step
    results = []
    for options in scenario.get("runs", [[]]):
        run = apply_overrides(family.recipes["debug"](), [*sys.argv[3:], *options])
        clips.clear()

        results.append(_run(run, family) | {"clips": list(clips)})
    sys.stdout.write("RESULT " + json.dumps({"rank": int(os.environ.get("RANK", 0)), "runs": results}) + "\n")
    sys.stdout.flush()
    os._exit(0)


def _run(run: Any, family: Family[Any]) -> dict[str, Any]:
    from cosmos_lidar.training.engine import Session

    try:
        with Session(run) as session:
            if session.finished:
                result = session.result()
            else:
                KEPT.append(family.make_job(run, session.folder, session.share))
                result = session.fit(KEPT[-1])
    except UserError as error:
        return {"error": str(error)}
    return {"step": result.step, "signal": result.signal, "folder": str(result.folder)}


if __name__ == "__main__":
    main()
