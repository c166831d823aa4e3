"""Synchronized batch norm: two ranks against one process with both their samples."""

from __future__ import annotations

import pytest
import torch

from cosmos_lidar.models.sparse import SparseTensor
from tests.parallel.ranks import results_of_ranks
from tests.workers.batch_norm_worker import answer, images, networks, voxels


@pytest.fixture(scope="module")
def ranks() -> list[dict]:
    return results_of_ranks(2, "batch_norm_worker.py")


@pytest.fixture(scope="module")
def together() -> dict:
    """Return the answer of one process."""
    clouds = [voxels(rank) for rank in (0, 1)]
    coords = torch.cat([cloud.coords + torch.tensor([rank, 0, 0, 0]) for rank, cloud in enumerate(clouds)])
    x = SparseTensor(coords, torch.cat([cloud.feats for cloud in clouds]).double())
    sparse, dense = networks()
    return answer([sparse(x).feats, dense(torch.cat([images(0), images(1)]).double())], (sparse, dense))


def test_outputs_are_those_of_one_batch(ranks: list[dict], together: dict) -> None:
    for number, wanted in enumerate(together["outputs"]):
        found = torch.cat([torch.tensor(one["outputs"][number], dtype=torch.float64) for one in ranks])
        torch.testing.assert_close(found, wanted.detach(), rtol=1e-9, atol=1e-9)


def test_gradients_and_running_statistics(ranks: list[dict], together: dict) -> None:
    for kind in ("gradients", "states"):
        assert len(together[kind]) >= 6
        for name, wanted in together[kind].items():
            for one in ranks:
                found = torch.tensor(one[kind][name], dtype=torch.float64)
                tolerance = 1e-9 * max(1.0, float(wanted.abs().max()))
                torch.testing.assert_close(found, wanted.detach().double(), rtol=0, atol=tolerance, msg=name)
