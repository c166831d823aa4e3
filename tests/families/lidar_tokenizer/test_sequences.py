"""The lidar tokenizer over time: sequences of sweeps through a video tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("nemo")

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.lidar_tokenizer.job import make_dry_model
from cosmos_lidar.models.tokenizer import load_tokenizer
from cosmos_lidar.training.overrides import apply_overrides
from cosmos_lidar.training.run_log import read_metrics
from recipes import lidar_tokenizer

SHAPE = ["model.name=CV4x8x8", "model.channels_mult=[1,2]", "model.resolution=null", "data.sequence=5"]


def test_sequences_are_learned_from_and_exported(tmp_path: Path) -> None:
    options = [*SHAPE, "trainer.max_steps=8", "trainer.val_every=0", f"log.root={tmp_path}", "log.tensorboard=false"]
    result = lidar_tokenizer.train(apply_overrides(lidar_tokenizer.debug(), options))
    rows = [row for row in read_metrics(result.folder / "metrics.csv") if row["val/rmse_m"]]
    assert float(rows[-1]["val/rmse_m"]) < 0.9 * float(rows[0]["val/rmse_m"])
    network = load_tokenizer(result.folder / "checkpoints" / "iter_000000008.pt")
    assert network.config.temporal_compression == 4
    assert network.encode(torch.zeros(1, 3, 5, 16, 64)).shape == (1, 16, 2, 2, 8)


def test_loss_of_a_sequence_is_that_of_its_frames() -> None:
    model = make_dry_model(apply_overrides(lidar_tokenizer.debug(), SHAPE))
    images, made = torch.rand(2, 3, 5, 16, 32) * 2 - 1, torch.rand(2, 3, 5, 16, 32)
    valid = torch.rand(2, 1, 5, 16, 32) > 0.5
    expected = sum((made[b, :, t] - images[b, :, t]).abs().mean() for b in range(2) for t in range(5)) / 10
    assert model.losses(made, images, valid)["color"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert model.tokens_per_sample() == 2 * model.size[0] * model.size[1] // 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["data.sequence=5"], r"data.sequence=5: a CI tokenizer takes single frames"),
        (["model.name=CV4x8x8", "data.sequence=4"], r"one more than a multiple of 4, such as 1 or 5"),
        (["model.name=CV8x8x8", "data.sequence=13"], r"one more than a multiple of 8, such as 9 or 17"),
        (["data.sequence=0"], r"data.sequence=0"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        apply_overrides(lidar_tokenizer.debug(), options).check()
