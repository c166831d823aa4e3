from __future__ import annotations

import numpy as np
import pytest
import torch

from cosmos_lidar.models.sparse import SparseTensor, build_backbone
from cosmos_lidar.models.sparse.second import KITTI_GRID, Second, bev_cells, stretched_cells
from tests.models.sparse.published import VECTORS, wave_weights


@pytest.fixture(scope="module")
def network() -> Second:
    made = build_backbone("second", 4, 128).eval()
    wave_weights(made)
    return made


@pytest.fixture(scope="module")
def voxels() -> SparseTensor:
    """Return those of a real sweep of KITTI."""
    coords = torch.from_numpy(VECTORS["J_second_voxel_coords_zyx"]).long().flip(1)
    feats = torch.from_numpy(VECTORS["J_second_voxel_feats"])
    return SparseTensor(torch.nn.functional.pad(coords, (1, 0)), feats)


def test_published_sites_and_sums_of_the_encoder(network: Second, voxels: SparseTensor) -> None:
    inside = SparseTensor(voxels.coords, voxels.feats, shape=network.shape)
    with torch.no_grad():
        features = network.model.backbone_3d(inside)
    for number, one in enumerate(features[:4], start=1):
        sums = one.feats.double().sum(0)
        wanted = torch.from_numpy(VECTORS[f"J_second_sum_x_conv{number}"])
        assert len(one.coords) == VECTORS[f"J_second_nsites_x_conv{number}"]
        # the sines cancel layer by layer: sums fall from 25,000 to 6, and the rounding of float32 stays
        tolerance = 1e-6 if number < 4 else 5e-5
        torch.testing.assert_close(sums, wanted, rtol=0, atol=tolerance * float(wanted.abs().max()))
    assert len(features[4].coords) == VECTORS["J_second_enc_n"]
    assert features[4].stride == (8, 8, 16)
    assert features[4].sites.shape == (176, 200, 2)


def test_published_latents(network: Second, voxels: SparseTensor) -> None:
    with torch.no_grad():
        bev = network.bev(voxels)
    assert bev.shape == (1, 128, 200, 176)
    y, x = VECTORS["J_second_sample_yx"].T
    found, wanted = bev[0, :, y, x].t(), torch.from_numpy(VECTORS["J_second_latents"])
    # these sines amplify rounding: float32 differs from float64 by 0.34 % (norm), the vectors from both by 0.39 %
    assert float((found - wanted).abs().max()) < 4e-3 * float(wanted.abs().max())
    assert float((found - wanted).norm() / wanted.norm()) < 6e-3
    mean = torch.from_numpy(VECTORS["J_second_latents_mean"])
    torch.testing.assert_close(bev.double().mean((0, 2, 3)), mean, rtol=0, atol=1e-3 * float(mean.abs().max()))


def test_voxels_get_the_feature_of_their_cell() -> None:
    network = build_backbone("second", 4, 3, grid=(64, 32, 40)).eval()
    coords = torch.tensor([[0, 63, 31, 39], [1, 0, 9, 2], [1, 7, 15, 30]])
    x = SparseTensor(coords, torch.randn(3, 4, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        out, bev = network(x), network.bev(x)
    assert bev.shape == (2, 3, 4, 8)
    torch.testing.assert_close(out, torch.stack([bev[0, :, 3, 7], bev[1, :, 1, 0], bev[1, :, 1, 0]]))


def test_positions_of_cells_are_stretched_to_the_borders() -> None:
    for axis, (low, high, count) in {"x": (0.0, 70.4, 176), "y": (-40.0, 40.0, 200)}.items():
        np.testing.assert_allclose(
            stretched_cells(low, high, count), VECTORS[f"J_second_grid_{axis}"], rtol=1e-5, atol=1e-5
        )
    assert KITTI_GRID[0] // 8 == 176


def test_cells_of_maps_are_sources_of_the_decoder() -> None:
    bev = torch.arange(2 * 3 * 5 * 4.0).view(2, 3, 5, 4)
    cells = bev_cells(bev, (0.0, -8.0, -3.0, 12.0, 8.0, 1.0))
    assert cells.clouds.tolist() == [0] * 20 + [1] * 20
    for row in (0, 7, 19, 33):
        cloud, y, x = row // 20, row % 20 // 4, row % 4
        assert torch.equal(cells.latents[row], bev[cloud, :, y, x])
        torch.testing.assert_close(cells.positions[row], torch.tensor([4.0 * x, -8 + 4.0 * y, 0]))
