from __future__ import annotations

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.sparse.voxels import batch_voxels, mean_voxels, rounded_voxels
from tests.models.sparse.published import FOLDER, VECTORS

KITTI = ((0.05, 0.05, 0.1), (0.0, -40.0, -3.0, 70.4, 40.0, 1.0))


def test_published_voxels_of_a_real_sweep() -> None:
    voxels = rounded_voxels(torch.from_numpy(VECTORS["C_pos"]), torch.from_numpy(VECTORS["C_int"]), 0.1)
    assert np.array_equal(voxels.coords, VECTORS["C_voxel_coords"])
    assert np.array_equal(voxels.feats, VECTORS["C_voxel_x"])
    assert np.array_equal(voxels.voxel_of_point, VECTORS["C_voxel_to_pc_id"])


def by_hand(points: np.ndarray, most_points: int, most_voxels: int) -> tuple[list, list, list]:
    """Return voxels, means and the voxel of each point, one point after the other."""
    (size, box), members, of_point = KITTI, {}, []
    for row, point in enumerate(points):
        cell = tuple(np.floor((point - np.float32(box[:3])) / np.float32(size)).astype(int).tolist())
        inside = all(low < value < high for low, value, high in zip(box[:3], point, box[3:], strict=True))
        if not inside or (cell not in members and len(members) == most_voxels):
            of_point.append(-1)
            continue
        rows = members.setdefault(cell, [])
        of_point.append(list(members).index(cell))
        if len(rows) < most_points:
            rows.append(row)
    means = [points[rows].astype(np.float64).mean(0) for rows in members.values()]
    return [list(cell) for cell in members], means, of_point


@pytest.mark.parametrize(("most_points", "most_voxels"), [(5, 100_000), (2, 30)])
def test_means_of_the_first_points_in_the_order_of_appearance(most_points: int, most_voxels: int) -> None:
    generator = np.random.default_rng(0)
    points = generator.uniform((9.8, -0.2, -3.1), (10.2, 0.2, -2.6), (300, 3)).astype(np.float32)
    voxels = mean_voxels(torch.from_numpy(points), torch.from_numpy(points), *KITTI, most_points, most_voxels)
    coords, means, of_point = by_hand(points, most_points, most_voxels)
    assert voxels.coords.tolist() == coords
    np.testing.assert_allclose(voxels.feats, means, rtol=1e-5)
    assert voxels.voxel_of_point.tolist() == of_point


def test_a_point_just_below_the_border_is_in_the_last_voxel() -> None:
    points = torch.tensor([[70.4 - 4e-6, 40.0 - 4e-6, 1.0 - 1e-7]])
    assert bool((points < torch.tensor(KITTI[1][3:])).all())
    assert mean_voxels(points, points, *KITTI).coords.tolist() == [[1407, 1599, 39]]


def test_batches_shift_the_voxels_of_points() -> None:
    first, second = torch.rand(50, 3) * 3, torch.rand(70, 3) * 3
    clouds = [rounded_voxels(points, points, 0.5) for points in (first, second)]
    batch = batch_voxels(clouds)
    assert batch.point_counts == (50, 70)
    assert batch.tensor.sites.counts == [len(cloud.coords) for cloud in clouds]
    cells = torch.cat([torch.round(points / 0.5) - torch.round(points / 0.5).amin(0) for points in (first, second)])
    assert torch.equal(batch.tensor.coords[batch.voxel_of_point, 1:], cells.long())


def test_a_cloud_outside_the_range_is_refused_alone_and_not_in_a_batch() -> None:
    points = torch.tensor([[1.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    voxels = mean_voxels(points, points, *KITTI)
    assert voxels.voxel_of_point.tolist() == [0, -1]
    assert batch_voxels([voxels, voxels]).voxel_of_point.tolist() == [0, -1, 1, -1]
    with pytest.raises(DataError, match="none of 1 points"):
        mean_voxels(points[1:], points[1:], *KITTI)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (torch.zeros(0, 3), r"\(0, 3\)"),
        (torch.zeros(4, 2), r"\(4, 2\)"),
        (torch.tensor([[0.0, float("nan"), 0.0]]), "not finite"),
        (torch.tensor([[0.0, 0.0, 0.0], [1e9, 0.0, 0.0]]), "1e.10 voxels"),
    ],
)
def test_clouds_without_voxels_are_named(points: torch.Tensor, message: str) -> None:
    with pytest.raises(DataError, match=message):
        rounded_voxels(points, points, 0.1)


def test_all_points_in_one_voxel() -> None:
    points = torch.full((9, 3), 3.0)
    voxels = rounded_voxels(points, torch.arange(9.0)[:, None], 0.1)
    assert voxels.coords.tolist() == [[0, 0, 0]]
    assert voxels.feats.tolist() == [[0.0]]


def test_published_features_that_run_over_the_voxels() -> None:
    v = np.load(FOLDER / "occupancy.npz")
    points, coords = torch.from_numpy(v["K_p2v_points"]), torch.from_numpy(v["K_p2v_coords_zyx"]).flip(1).long()
    size, extent = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0, 4.0, 4.0, 4.0)
    voxels = mean_voxels(points[:, :3], points, size, extent, published_pretraining=True)
    assert torch.equal(voxels.coords, coords)
    assert torch.bincount(voxels.voxel_of_point).tolist() == v["K_p2v_n"].tolist()
    wanted = torch.from_numpy(v["K_p2v_ref_feature"])
    torch.testing.assert_close(voxels.feats, wanted, rtol=1e-5, atol=1e-5)
    means = mean_voxels(points[:, :3], points, size, extent).feats
    assert not torch.allclose(means, wanted, rtol=0.1)
