from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from cosmos_lidar.errors import DataError
from cosmos_lidar.training.config import EmaConfig
from cosmos_lidar.training.ema import Ema
from cosmos_lidar.training.measure.step_clock import StepClock
from cosmos_lidar.training.validation import Validate


class Model(nn.Module):
    """Validates a batch by the first weight of its network; notes in which mode it was."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.network, self.clock, self.modes = nn.Linear(1, 1), StepClock(), []
        nn.init.constant_(self.network.weight, 2.0)

    def validation_step(self, batch: float, index: int) -> dict[str, Any]:
        self.modes.append((self.training, torch.is_grad_enabled(), index))
        torch.rand(3)  # draws of a validation
        return {"value": batch * self.network.weight.item()}

    def pool_validation(self, results: list[dict[str, Any]]) -> dict[str, float]:
        return {"val/value": sum(result["value"] for result in results)}


class Log:
    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    def write(self, trainer: Any, step: int, values: dict[str, float]) -> None:
        self.rows.append((step, values))


def trainer(step: int, most: int = 100) -> SimpleNamespace:
    strategy = SimpleNamespace(batch_to_device=lambda batch, dataloader_idx: batch)
    return SimpleNamespace(global_step=step, max_steps=most, strategy=strategy, is_global_zero=True)


def test_all_batches_in_evaluation_and_nothing_of_the_training_changes() -> None:
    model, log = Model(), Log()
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    Validate([1.0, 10.0], every=5, at_start=True, run_log=log, ema=None).on_train_start(trainer(0), model)
    assert torch.equal(torch.rand(1), wanted)
    assert log.rows == [(0, {"val/value": 22.0})]
    assert log.last_validation == {"val/value": 22.0}
    assert model.modes == [(False, False, 0), (False, False, 1)]
    assert model.training


@pytest.mark.parametrize(("every", "steps"), [(5, [5, 10, 12]), (0, [12]), (1, list(range(1, 13)))])
def test_when_it_is_time(every: int, steps: list[int]) -> None:
    model, log = Model(), Log()
    validate = Validate([1.0], every, at_start=False, run_log=log, ema=None)
    validate.on_train_start(trainer(0, 12), model)
    for step in range(1, 13):
        validate.on_train_batch_end(trainer(step, 12), model, None, None, 0)
    assert [step for step, _ in log.rows] == steps


def test_a_resumed_run_is_not_validated_at_its_start() -> None:
    log = Log()
    Validate([1.0], 5, at_start=True, run_log=log, ema=None).on_train_start(trainer(5), Model())
    assert not log.rows


def test_averaged_weights_are_validated_where_there_are_any() -> None:
    model, log = Model(), Log()
    ema = Ema(EmaConfig(enabled=True, decay=0.5))
    ema.on_fit_start(None, model)
    with torch.no_grad():
        model.network.weight.fill_(6.0)
    ema.on_train_batch_end(trainer(1), model, None, None, 0)
    Validate([1.0], 1, False, log, ema).run(trainer(1), model)
    assert log.rows[0][1] == {"val/value": 4.0}
    assert model.network.weight.item() == 6.0


def test_an_empty_split_is_refused() -> None:
    with pytest.raises(DataError, match=r"yields no batch.*key data.val_split"):
        Validate([], 1, False, Log(), None).run(trainer(1), Model())
