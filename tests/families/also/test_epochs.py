"""Epochs as steps."""

from __future__ import annotations

from pathlib import Path

from cosmos_lidar.families.also.epochs import epoch_facts
from cosmos_lidar.families.also.semseg.config import SemsegDataConfig, SemsegTrainConfig
from cosmos_lidar.training.config import TrainerConfig


def values(run: SemsegTrainConfig, epochs: int, interval: int) -> dict[str, int]:
    return {key: fact.value for key, fact in epoch_facts(run, epochs, interval, 28_130, Path("shards")).items()}


def test_an_epoch_ends_with_a_part_of_a_batch():
    run = SemsegTrainConfig(data=SemsegDataConfig(batch_size=8))
    assert values(run, 30, 5) == {"trainer.max_steps": 30 * 3517, "trainer.val_every": 5 * 3517}
    assert values(run, 0, 0) == {}


def test_ranks_and_accumulated_batches_share_an_epoch(monkeypatch):
    run = SemsegTrainConfig(data=SemsegDataConfig(batch_size=8), trainer=TrainerConfig(accumulate=2))
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert values(run, 1, 0) == {"trainer.max_steps": 440}  # batches of 64
    run.trainer.global_batch_size = 32
    assert values(run, 1, 0) == {"trainer.max_steps": 880}
