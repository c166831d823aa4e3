"""Contrastive loss of BEV cells against numbers of the published code, and by hand; pairs without a common cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.losses.bev_contrast import (
    BevGrid,
    BevRange,
    bev_contrast_loss,
    bev_means,
    warped,
    with_occupancy,
)

VECTORS = np.load(Path(__file__).parents[1] / "vectors" / "bev_contrast.npz")
GRID = BevGrid()


def scan(side: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return voxels with the cloud first, features, lowest voxels."""
    coords = torch.from_numpy(VECTORS[f"coords_{side}"]).long()[:, [3, 0, 1, 2]]
    minimums = torch.from_numpy(VECTORS[f"min_{side}"]).long()
    return coords, torch.from_numpy(VECTORS[f"feats_{side}"]).requires_grad_(side == "in"), minimums


def poses() -> torch.Tensor:
    found = torch.eye(4).repeat(2, 1, 1)
    found[:, :3, :3], found[:, :3, 3] = (torch.from_numpy(VECTORS[name]) for name in ("R_out", "T_out"))
    return found


def test_the_published_loss_and_gradient() -> None:
    (coords_in, feats_in, low_in), other = scan("in"), scan("out")
    maps_in, maps_out = bev_means(coords_in, feats_in, low_in, GRID), bev_means(*other, GRID)
    assert maps_in.shape == (2, 17, 170, 170)
    for maps, side in ((maps_in, "in"), (maps_out, "out")):
        assert maps[:, -1].sum((1, 2)).tolist() == VECTORS[f"cells_{side}"].tolist()
    loss, cells = bev_contrast_loss(maps_in, maps_out, poses(), GRID)
    assert cells == 1434
    assert float(loss.detach()) == pytest.approx(float(VECTORS["loss"]), rel=1e-5)
    loss.backward()
    assert float(feats_in.grad.norm()) == pytest.approx(float(VECTORS["grad_in_norm"]), rel=1e-4)
    with torch.no_grad():
        assert float(bev_contrast_loss(maps_in, maps_out, torch.eye(4).repeat(2, 1, 1), GRID)[0]) == pytest.approx(
            10.27, abs=0.01
        )


def test_cells_are_means_over_all_heights() -> None:
    """Voxels of 1 m, cells of 2 m from -4 m on: x = 1, 2 are the cells 2, 3; what is beyond the border is left out."""
    grid = BevGrid(4.0, 1.0, 2)
    coords = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 9], [0, 1, 0, 0], [0, 3, 0, 0]])
    feats = torch.tensor([[1.0], [3.0], [5.0], [7.0]])
    maps = bev_means(coords, feats, torch.tensor([[1, -4, 0]]), grid)
    assert maps[0, 0, 0].tolist() == [0.0, 0.0, 2.0, 5.0]
    assert float(maps[0, 0, 1:].abs().sum()) == 0.0
    assert maps[0, 1, 0].tolist() == [0.0, 0.0, 1.0, 1.0]


def test_a_map_is_moved_by_the_pose() -> None:
    """Two meters forward: the second scan's cell at x holds what the first has two meters further on."""
    grid = BevGrid(4.0, 1.0, 2)
    maps = torch.arange(16.0).view(1, 1, 4, 4)
    forward = torch.eye(4)[None].clone()
    forward[0, 0, 3] = 2.0
    found = warped(maps, forward, grid)
    torch.testing.assert_close(found[0, 0, :, :3], maps[0, 0, :, 1:])
    assert float(found[0, 0, :, 3].abs().max()) < 1e-5


def test_pairs_without_a_common_cell_have_no_loss() -> None:
    coords_in, feats_in, low_in = scan("in")
    maps_in, maps_out = bev_means(coords_in, feats_in, low_in, GRID), bev_means(*scan("out"), GRID)
    away = torch.eye(4).repeat(2, 1, 1)
    away[:, 0, 3] = 500.0
    loss, cells = bev_contrast_loss(maps_in, maps_out, away, GRID)
    assert (float(loss.detach()), cells) == (0.0, 0)
    loss.backward()
    assert float(feats_in.grad.abs().sum()) == 0.0


def test_at_most_so_many_cells() -> None:
    maps_in, maps_out = bev_means(*scan("in"), GRID), bev_means(*scan("out"), GRID)
    generator = torch.Generator().manual_seed(0)
    loss, cells = bev_contrast_loss(maps_in.detach(), maps_out, poses(), GRID, most_cells=100, generator=generator)
    assert cells == 100
    assert 0 < float(loss) < float(VECTORS["loss"])


def test_a_map_in_front_of_the_sensor_turns_about_the_sensor() -> None:
    """The map covers x 0 to 8 m and y -2 to 2 m; what is sampled is a linear function of the place, known exactly."""
    covered = BevRange.of_extent([0.0, -2.0, -3.0, 8.0, 2.0, 1.0])
    assert covered == BevRange((4.0, 0.0), (4.0, 2.0))
    x, y = torch.arange(16) * 0.5 + 0.25, torch.arange(8) * 0.5 - 1.75
    maps = (x + 10 * y[:, None]).view(1, 1, 8, 16)
    angle, shift = torch.tensor(0.1), torch.tensor([0.3, -0.2])
    pose = torch.eye(4)[None].clone()
    pose[0, :2, :2] = torch.tensor([[angle.cos(), -angle.sin()], [angle.sin(), angle.cos()]])
    pose[0, :2, 3] = shift
    found = warped(maps, pose, covered)[0, 0]
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1) @ pose[0, :2, :2].t() + shift
    inside = ((places >= torch.tensor([0.25, -1.75])) & (places <= torch.tensor([7.75, 1.75]))).all(-1)
    assert inside.sum() > 60
    torch.testing.assert_close(found[inside], (places @ torch.tensor([1.0, 10.0]))[inside], rtol=1e-4, atol=1e-4)


def test_cells_with_voxels_and_cells_of_other_ranks() -> None:
    maps = torch.arange(16.0).view(2, 2, 2, 2)
    found = with_occupancy(maps, torch.tensor([[0, 9, 1, 3], [1, 0, 15, 0], [1, 3, 9, 2]]), 8)
    assert torch.equal(found[:, :2], maps)
    assert found[:, 2].tolist() == [[[0.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]]]
    first, second = bev_means(*scan("in"), GRID).detach(), bev_means(*scan("out"), GRID)
    one, cells = bev_contrast_loss(first[:1], second[:1], poses()[:1], GRID)
    strangers = torch.nn.functional.normalize(torch.randn(50, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    both, same = bev_contrast_loss(
        first[:1], second[:1], poses()[:1], GRID, gather=lambda rows: (torch.cat([strangers, rows]), 50)
    )
    assert same == cells
    assert both > one
