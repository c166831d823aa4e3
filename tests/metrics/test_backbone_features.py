from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from cosmos_lidar.errors import DataError
from cosmos_lidar.metrics.backbone_features import COLUMN, BackboneDistance, BackboneFeatures
from cosmos_lidar.metrics.generation import GenerationProtocol, GenerationScores
from cosmos_lidar.models.sparse import SparseTensor, build_backbone
from cosmos_lidar.models.sparse.backbone import Backbone
from cosmos_lidar.models.sparse.inputs import VoxelInput

GIVEN = VoxelInput(("pos",), (2.0,))


@pytest.fixture(scope="module")
def network() -> Backbone:
    torch.manual_seed(0)
    return build_backbone("minkunet18", 3, 0, width=2)


@pytest.fixture(scope="module")
def features(network: Backbone) -> BackboneFeatures:
    return BackboneFeatures(network, GIVEN, "0123456789abcdef")


def clouds(count: int, spread: float, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(0, spread, (rng.integers(60, 90), 3)) * (4, 4, 0.5) for _ in range(count)]


def by_definition(first: np.ndarray, second: np.ndarray) -> float:
    """Return the distance of Gaussians by scipy's square root of the product of the covariances."""
    covariances = np.cov(first.T), np.cov(second.T)
    shift = first.mean(0) - second.mean(0)
    return float(shift @ shift + np.trace(sum(covariances) - 2 * sqrtm(covariances[0] @ covariances[1]).real))


def test_a_cloud_is_the_mean_of_its_voxels_in_any_company(network: Backbone, features: BackboneFeatures) -> None:
    first, second = clouds(2, 1.0, seed=0)
    found = features([first, second])
    assert found.shape == (2, network.out_channels)
    assert found.dtype == np.float64
    assert np.array_equal(features([second])[0], found[1])
    voxels = GIVEN.voxels(torch.from_numpy(first).float(), torch.ones(len(first), 1))
    coords = torch.cat([torch.zeros(len(voxels.coords), 1, dtype=torch.long), voxels.coords], 1)
    with torch.no_grad():
        every = network(SparseTensor(coords, voxels.feats)).double().numpy()
    assert 1 < len(every) < len(first)
    assert np.allclose(found[0], every.mean(0), rtol=1e-12)
    assert features.name == "minkunet18, mean over voxels of 2 m, of pos, weights 0123456789ab"


def test_the_distance_is_that_of_the_formula_and_ranks_are_joined(features: BackboneFeatures) -> None:
    recorded, made = clouds(20, 1.0, seed=1), clouds(20, 1.6, seed=2)
    whole, first, second = (BackboneDistance(features) for _ in range(3))
    for number, pair in enumerate(zip(recorded, made, strict=True)):
        whole.add(pair)
        (first if number % 3 else second).add(pair)
    wanted = by_definition(features(recorded), features(made))
    assert whole.result()[COLUMN] == pytest.approx(wanted, rel=1e-5)
    first.merge(pickle.loads(pickle.dumps(second)))  # noqa: S301
    assert first.result()[COLUMN] == pytest.approx(whole.result()[COLUMN], rel=1e-9)
    table = GenerationScores(GenerationProtocol(resamplings=5), backbone=features)
    parts = [GenerationScores(GenerationProtocol(resamplings=5), backbone=features) for _ in range(2)]
    for number, pair in enumerate(zip(recorded, made, strict=True)):
        for scores in (table, parts[number // 10]):
            scores.add(f"clip {number // 4}", np.ones((1, 1)), np.ones((1, 1)), *pair)
    parts[0].merge(parts[1])
    (row,) = (row for row in table.result() if row.name == COLUMN)
    assert row.value == pytest.approx(wanted, rel=1e-5)
    assert row.low <= row.value <= row.high
    assert row.protocol.settings["features"] == features.name
    assert parts[0].result() == table.result()
    with pytest.raises(DataError, match="different protocols or features"):
        table.merge(GenerationScores(GenerationProtocol(resamplings=5)))


def test_the_same_clouds_in_another_order_are_at_zero_with_fewer_sweeps_than_features(
    features: BackboneFeatures,
) -> None:
    some = clouds(3, 1.0, seed=3)
    same, scaled = BackboneDistance(features), BackboneDistance(features)
    for number, cloud in enumerate(some):
        same.add((cloud, some[number - 1]))
        scaled.add((cloud, 1.5 * cloud))
    assert len(features([some[0]])[0]) > 3
    assert same.result()[COLUMN] == pytest.approx(0, abs=1e-9)
    assert scaled.result()[COLUMN] > 1e-6


def test_one_sweep_has_no_distance_and_an_empty_one_is_counted(network: Backbone) -> None:
    features = BackboneFeatures(network, GIVEN, "a")
    distance = BackboneDistance(features)
    distance.add((clouds(1, 1.0, seed=4)[0], np.zeros((0, 3))))
    assert math.isnan(distance.result()[COLUMN])
    assert distance.document() == {COLUMN: None}
    assert features.empty == 1
    assert not distance.made.mean.any()
    distance.add((np.zeros((0, 3)), np.zeros((0, 3))))
    assert distance.result()[COLUMN] > 0
    table = GenerationScores(GenerationProtocol(resamplings=5), backbone=features)
    table.add("a", np.ones((1, 1)), np.ones((1, 1)), *clouds(2, 1.0, seed=5))
    assert COLUMN not in {row.name for row in table.result()}


def test_what_cannot_be_is_refused(network: Backbone, features: BackboneFeatures) -> None:
    with pytest.raises(DataError, match=r"minkunet18 of 3 input channels.*Expected: 1 for intensities"):
        BackboneFeatures(network, VoxelInput(("intensities",), (0.5,)), "a")
    with pytest.raises(DataError, match=r"points of shape \(4, 2\)"):
        features([np.zeros((4, 2))])
    with pytest.raises(DataError, match=r"points of shape \(1, 3\).*finite"):
        features([np.array([[0.0, np.nan, 0.0]])])
    distance = BackboneDistance(features)
    with pytest.raises(DataError, match="both of the same network"):
        distance.merge(BackboneDistance(BackboneFeatures(network, GIVEN, "other")))
