from __future__ import annotations

import torch

from cosmos_lidar.models.sparse.inputs import VoxelInput
from cosmos_lidar.models.sparse.voxels import mean_voxels, rounded_voxels

POINTS = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 0.5], [-9.0, 1.0, 0.0]])


def test_parts_are_in_the_given_order_and_a_range_leaves_out_what_is_beyond() -> None:
    intensities = torch.tensor([[0.2], [0.4], [0.6]])
    found = VoxelInput(("x", "pos", "intensities"), (0.5,)).voxels(POINTS, intensities)
    wanted = rounded_voxels(POINTS, torch.cat([torch.ones(3, 1), POINTS, intensities], 1), 0.5)
    assert torch.equal(found.feats, wanted.feats)
    assert torch.equal(found.coords, wanted.coords)
    box, size = (-4.0, -4.0, -2.0, 4.0, 4.0, 2.0), (0.5, 0.5, 0.1)
    second = VoxelInput(("pos",), size, box)
    assert second.inside(POINTS).tolist() == [True, True, False]
    assert VoxelInput(("pos",), (0.5,)).inside(POINTS).all()
    assert torch.equal(second.voxels(POINTS, intensities).feats, mean_voxels(POINTS, POINTS, size, box).feats)
