from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.training.guards.owner_watch import OwnerWatch
from cosmos_lidar.training.guards.step_flags import StepFlags


def test_all_ranks_stop_when_the_folder_is_taken_over() -> None:
    others: list[str] = [""]
    flags = StepFlags()
    watch, trainer = OwnerWatch(flags, lambda: others[0]), SimpleNamespace(global_step=7)

    def step(watch: OwnerWatch, flags: StepFlags) -> None:
        trained: Any = trainer
        watch.on_train_batch_start(trained, trained, None, 0)
        flags.exchange(torch.device("cpu"))
        watch.on_train_batch_end(trained, trained, None, None, 0)

    step(watch, flags)
    others[0] = "process 4711 on host gpu12"
    with pytest.raises(UserError, match="step 7: the run folder was taken over by process 4711 on host gpu12"):
        step(watch, flags)
    second = StepFlags()  # of a rank that does not look itself
    second.exchange = lambda device: second.ranks.update(taken_over=[1.0, 0.0])  # type: ignore[method-assign]
    with pytest.raises(UserError, match="taken over by another run"):
        step(OwnerWatch(second, lambda: ""), second)
