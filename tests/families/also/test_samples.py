"""Pretext samples: a function of their seed, augmented in training alone; sweeps that no network can be trained on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.families.also.samples import pretext_cloud
from tests.families.also.clouds import DATA, GRID, MINK, cloud, sweep


def test_a_sample_is_a_function_of_its_seed() -> None:
    one, same, other = cloud(3), cloud(3), pretext_cloud(*sweep(3), MINK, DATA, 4, training=True)
    assert torch.equal(one.points, same.points)
    assert torch.equal(one.queries.points, same.queries.points)
    assert not torch.equal(one.points, other.points)
    assert (len(one.points), len(one.queries.points), int(one.queries.occupied.sum())) == (300, 60, 20)


def test_augmentation_is_of_training_alone() -> None:
    points, intensities = sweep(3)
    kept = replace(DATA, points=1000, decimation=None)
    plain = pretext_cloud(points, intensities, MINK, kept, 0, training=False)
    assert torch.equal(plain.points, points)
    turned = pretext_cloud(points, intensities, MINK, kept, 0, training=True)
    assert not torch.allclose(turned.points, points)
    torch.testing.assert_close(turned.points.norm(dim=1), points.norm(dim=1))


def test_features_are_the_inputs_in_their_order() -> None:
    points, intensities = sweep(3)
    model = replace(MINK, inputs=["pos", "x", "intensities"])
    plain = pretext_cloud(points, intensities, model, replace(DATA, intensity_scale=255.0), 0, training=False)
    voxels = plain.voxels
    first = [int((voxels.voxel_of_point == number).nonzero()[0]) for number in range(len(voxels.coords))]
    torch.testing.assert_close(voxels.feats[:, :3], plain.points[first])
    assert torch.equal(voxels.feats[:, 3], torch.ones(len(first)))
    scaled = intensities[[int((points == point).all(1).nonzero()[0]) for point in plain.points[first]]] / 255.0
    torch.testing.assert_close(voxels.feats[:, 4], scaled)


def test_second_takes_the_points_of_its_range() -> None:
    points, intensities = (
        torch.tensor([[1.0, 2.0, 0.0], [1.1, 2.1, 0.04], [9.0, 0.0, 0.0]]),
        torch.tensor([1.0, 3.0, 5.0]),
    )
    voxels = GRID.voxel_input.voxels(points, intensities[:, None])
    assert voxels.coords.tolist() == [[18, 36, 30]]
    torch.testing.assert_close(voxels.feats, torch.tensor([[1.05, 2.05, 0.02, 2.0]]))
    assert voxels.voxel_of_point.tolist() == [0, 0, -1]


@pytest.mark.parametrize(
    ("points", "model", "message"),
    [
        (torch.zeros(0, 3), MINK, "an empty sweep"),
        (torch.full((5, 3), 2.0), MINK, "1 points within 16 voxels"),
        (sweep(0)[0] * 0.3, MINK, "points within 16 voxels"),
        (torch.full((5, 3), 20.0), GRID, "none of 1 points in the range"),
        (torch.full((5, 3), float("nan")), MINK, "x from"),
    ],
)  # fmt: skip
def test_sweeps_that_cannot_be_used(points: torch.Tensor, model: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        pretext_cloud(points, torch.zeros(len(points)), model, DATA, 0, training=True)
