from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cosmos_lidar.families.lidar_tokenizer.config import LidarTokenizerTrainConfig
from cosmos_lidar.recipes.lidar_tokenizer import debug
from cosmos_lidar.training.overrides import apply_overrides


@pytest.fixture(scope="session")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of three short synthetic drives of a small sensor: two to train on, one to validate on."""
    pytest.importorskip("nemo")
    pytest.importorskip("megatron.energon")
    from cosmos_lidar.families.lidar_tokenizer.data import synthetic_shards

    return synthetic_shards(tmp_path_factory.mktemp("data") / "shards", drives=3, seed=1)


@pytest.fixture
def small_run(shards: Path, tmp_path: Path) -> Callable[..., LidarTokenizerTrainConfig]:
    """Make a run of the debug recipe on ``shards`` that keeps its files in the test's folder."""

    def make(*overrides: str) -> LidarTokenizerTrainConfig:
        few = "trainer.max_steps=8 trainer.save_every=0 trainer.val_every=0 trainer.export=false trainer.val_batches=1"
        few = [*few.split(), "log.tensorboard=false", f"data.path={shards}", f"log.root={tmp_path}"]
        return apply_overrides(debug(), [*few, *overrides])

    return make


class Meddler:
    """A training loader that does something to a batch before it is trained on, or notes it."""

    def __init__(self, loader: Any, meddle: Callable[[int, Any], Any]) -> None:
        self.loader, self.meddle = loader, meddle
        self.save_state_rank, self.restore_state_rank = loader.save_state_rank, loader.restore_state_rank

    def __iter__(self) -> Iterator[Any]:
        for number, batch in enumerate(self.loader, start=1):
            yield self.meddle(number, batch)


@pytest.fixture
def meddle(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int, Any], Any]], None]:
    """Let a function (number of the batch, batch) -> batch stand between the loader and the training."""

    def install(function: Callable[[int, Any], Any]) -> None:
        from cosmos_lidar.families.lidar_tokenizer import job as run_module

        make = run_module.make_data

        def make_meddled(run: LidarTokenizerTrainConfig, folder: Path, share: Any) -> Any:
            data = make(run, folder, share)
            return replace(data, train=Meddler(data.train, function))

        monkeypatch.setattr(run_module, "make_data", make_meddled)

    return install
