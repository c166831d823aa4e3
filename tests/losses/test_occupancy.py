from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.losses.occupancy import occupancy_loss, pair_counts
from cosmos_lidar.models.sparse.neighbors import Neighbors
from tests.models.sparse.test_occupancy_decoder import published_decoder

VECTORS = np.load(Path(__file__).parents[1] / "vectors" / "occupancy.npz")


def test_published_losses() -> None:
    v = {key.removeprefix("E_"): torch.from_numpy(VECTORS[key]) for key in VECTORS.files if key.startswith("E_")}
    pairs = Neighbors(*v["edges"])
    predicted = published_decoder()(v["latents"], v["pos"], v["q_pos"], pairs)
    loss = occupancy_loss(predicted, pairs, v["q_occ"], v["q_int"])
    assert float(loss.occupancy.detach()) == pytest.approx(float(VECTORS["E_loss_recons"]), rel=1e-5)
    assert float(loss.intensity.detach()) == pytest.approx(float(VECTORS["E_loss_int"]), rel=1e-5)


def test_batches_without_pairs_or_near_queries_have_a_loss_and_a_gradient_of_zero() -> None:
    none = Neighbors(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64))
    predicted = torch.zeros(0, 2, requires_grad=True)
    loss = occupancy_loss(predicted, none, torch.zeros(3), torch.zeros(3, 1))
    assert not any(float(term.detach()) for term in loss)
    (loss.occupancy + loss.intensity).backward()
    pairs = Neighbors(torch.tensor([0, 1]), torch.tensor([0, 0]))
    predicted = torch.ones(2, 2, requires_grad=True)
    loss = occupancy_loss(predicted, pairs, torch.zeros(2), torch.full((2, 1), -1.0))
    assert float(loss.intensity.detach()) == 0
    loss.intensity.backward()
    assert not predicted.grad.any()


def test_counts_of_pairs() -> None:
    pairs = Neighbors(torch.tensor([0, 0, 1, 2]), torch.arange(4))
    predicted = torch.tensor([[1.0, 0], [-1.0, 0], [2.0, 0], [-3.0, 0]])
    assert pair_counts(predicted, pairs, torch.tensor([1, 0, 0])).tolist() == [[1, 1], [1, 1]]
