"""Predictions of pairs by an independent loop, for points and for BEV cells; empty clouds."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cosmos_lidar.families.also.config import AlsoModelConfig
from cosmos_lidar.families.also.network import PretextNetwork
from cosmos_lidar.models.sparse import SparseTensor, build_backbone
from tests.families.also.clouds import GRID, MINK, batch_of, cloud


def network_of(model: AlsoModelConfig) -> PretextNetwork:
    torch.manual_seed(0)
    grid = {"grid": model.grid} if model.on_grid else {"width": model.width}
    return PretextNetwork(build_backbone(model.name, model.channels, model.latent_size, **grid), model).eval()


def inputs_of(model: AlsoModelConfig, clouds: int = 2) -> dict[str, Any]:
    batch = batch_of([cloud(seed, model) for seed in range(clouds)])
    return {
        "voxels": batch.voxels, "feats": batch.feats.values, "points": batch.points.values,
        "point_clouds": batch.points.batch_index, "voxel_of_point": batch.voxel_rows, "queries": batch.queries.values,
        "query_clouds": batch.queries.batch_index, "clouds": clouds, "seed": 0,
    }  # fmt: skip


def decoded(network: PretextNetwork, latent: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """Return the published decoder of one pair; no ReLU before its last layer."""
    decoder = network.decoder
    h = decoder.fc_in(torch.cat([latent, offset]))
    for layer in decoder.mlp_layers:
        h = layer(torch.relu(h))
    return decoder.fc_out(h)


@torch.no_grad()
def test_points_are_the_sources_of_a_unet() -> None:
    network, given = network_of(MINK), inputs_of(MINK)
    values, pairs = network(**given)[:2]
    latents = network.backbone(SparseTensor(given["voxels"], given["feats"], 2))[given["voxel_of_point"]]
    distances = torch.cdist(given["queries"], given["points"])
    distances[given["query_clouds"][:, None] != given["point_clouds"]] = torch.inf
    wanted = torch.minimum((distances < MINK.radius).sum(1), torch.tensor(32))
    assert torch.equal(torch.bincount(pairs.queries, minlength=len(wanted)), wanted)
    assert len(pairs.queries) > 100
    for row in range(0, len(pairs.queries), 29):
        query, source = int(pairs.queries[row]), int(pairs.sources[row])
        offset = given["queries"][query] - given["points"][source]
        torch.testing.assert_close(values[row], decoded(network, latents[source], offset), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_cells_of_the_map_are_the_sources_of_second() -> None:
    """32 x 64 voxels of 0.5 m are 4 x 8 cells, from border to border of the range; distances are in x and y."""
    network, given = network_of(GRID), inputs_of(GRID)
    values, pairs = network(**given)[:2]
    bev = network.backbone.bev(SparseTensor(given["voxels"], given["feats"], 2))
    assert bev.shape == (2, GRID.latent_size, 8, 4)
    for row in range(0, len(pairs.queries), 11):
        query, source = int(pairs.queries[row]), int(pairs.sources[row])
        sweep, y, x = source // 32, source // 4 % 8, source % 4
        assert sweep == given["query_clouds"][query]
        offset = given["queries"][query] - torch.tensor([-8 + 16 * x / 3, -16 + 32 * y / 7, 0])
        assert offset[:2].norm() < GRID.radius
        torch.testing.assert_close(values[row], decoded(network, bev[sweep, :, y, x], offset), rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("model", [MINK, GRID], ids=["mink", "second"])
def test_a_cloud_without_points_changes_nothing(model: AlsoModelConfig) -> None:
    network, given = network_of(model), inputs_of(model, clouds=1)
    alone = network(**given)
    beside = network(**(given | {"clouds": 2}))
    torch.testing.assert_close(beside.values, alone.values)
    assert torch.equal(beside.pairs.queries, alone.pairs.queries)


def test_parameters_have_the_names_of_the_published_checkpoints() -> None:
    names = network_of(MINK).state_dict().keys()
    decoder = {
        f"{layer}.{part}"
        for layer in ("fc_in", "mlp_layers.0", "mlp_layers.1", "fc_out")
        for part in ("weight", "bias")
    }
    assert {name for name in names if not name.startswith("backbone.")} == {f"decoder.{name}" for name in decoder}
    assert {"backbone.stem.0.kernel", "backbone.classifier.0.weight"} <= names
    plan = network_of(MINK).parallel_plan()
    assert plan.blocks[:2] == ("backbone.stem", "backbone.stage1")
