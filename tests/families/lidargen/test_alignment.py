"""Targets of alignment: features of a backbone, means over the returns of each token, by plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from cosmos_lidar.clips.clip import Clip
from cosmos_lidar.families.lidargen.alignment import AlignmentFeatures, pixel_points
from cosmos_lidar.models.sparse import SparseTensor, build_backbone
from cosmos_lidar.models.sparse.inputs import VoxelInput
from cosmos_lidar.sensors import range_map_to_points, uniform_sensor
from cosmos_lidar.synth import synthesize_drive

GIVEN = VoxelInput(("pos", "intensities"), (1.0,))


@pytest.fixture(scope="module")
def clip() -> Clip:
    plain = uniform_sensor(16, 132, name="small")
    sensor = replace(plain, format=replace(plain.format, pair_columns=2, repeat_rows=2, crop_columns=60))
    return synthesize_drive(1, sensor, 2)


@pytest.fixture(scope="module")
def features() -> AlignmentFeatures:
    torch.manual_seed(0)
    return AlignmentFeatures(build_backbone("minkunet18", 4, 0, width=2).eval(), GIVEN, 2.0, 4)


@torch.no_grad()
def by_loops(features: AlignmentFeatures, clip: Clip, index: int, mirrored: bool) -> np.ndarray:
    """Return the means of tokens; 60 of 66 merged columns are in the cut, 8 image pixels make a token."""
    sweep = clip.read_sweep(index)
    points = torch.from_numpy(np.asarray(range_map_to_points(sweep.range_m, clip.sensor), np.float32))
    if mirrored:
        points = points * torch.tensor([1.0, -1.0, 1.0])
    intensity = torch.from_numpy(sweep.intensity[sweep.range_m > 0])[:, None] / 2.0
    voxels = GIVEN.voxels(points, intensity)
    coords = torch.nn.functional.pad(voxels.coords, (1, 0))
    every = features.network(SparseTensor(coords, voxels.feats, 1))[voxels.voxel_of_point].numpy()
    cells: dict[tuple[int, int], list[np.ndarray]] = {}
    for feature, row, column in zip(every, *np.nonzero(sweep.range_m > 0), strict=True):
        place = column // 2 - 3
        if 0 <= place < 60:
            place = 59 - place if mirrored else place
            cells.setdefault((2 * row // 8, place // 8), []).append(feature)
    found = np.zeros((4, 8, every.shape[1]), np.float32)
    for cell, some in cells.items():
        found[cell] = np.mean(some, axis=0)
    return found


@pytest.mark.parametrize("mirrored", [False, True])
def test_tokens_have_the_mean_of_their_returns(features: AlignmentFeatures, clip: Clip, mirrored: bool) -> None:
    assert features.grid(clip.sensor) == (4, 8)
    found = features(clip, 1, mirrored)
    expected = by_loops(features, clip, 1, mirrored)
    assert (np.abs(expected).max(-1) > 0).sum() > 16
    assert np.allclose(found, expected, atol=1e-5)


def test_recordings_of_points_and_without_intensities(features: AlignmentFeatures, clip: Clip) -> None:
    def without(index: int):
        return replace(clip.read_sweep(index), intensity=None)

    def as_points(index: int):
        cloud = clip.lidar.cloud(index)
        order = np.random.default_rng(0).permutation(len(cloud.points))
        return replace(cloud, points=cloud.points[order], intensity=cloud.intensity[order], labels=None, instance=None,
                       time_us=None, ring=None)  # fmt: skip

    pixels, same = pixel_points(clip, 0), pixel_points(clip.with_lidar(read=as_points), 0)
    assert np.array_equal(pixels.rows, same.rows)
    assert np.array_equal(pixels.intensities, same.intensities)
    assert pixel_points(clip.with_lidar(read=without), 0).intensities is None
    ones = clip.with_lidar(read=lambda index: replace(clip.read_sweep(index), intensity=np.full((16, 132), 2.0)))
    assert np.array_equal(features(clip.with_lidar(read=without), 0), features(ones, 0))
    empty = clip.with_lidar(read=lambda index: replace(clip.read_sweep(index), range_m=np.zeros((16, 132), np.float32)))
    assert not features(empty, 0).any()
