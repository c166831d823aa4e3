from __future__ import annotations

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.wan_vae.tiles import decode_tiles, encode_tiles, tile_grid
from tests.models.wan_vae.reference import difference, small_vae


def test_tiles_of_what_each_pixel_gives_are_the_whole():
    """With an encoder and a decoder that look at single pixels, tiles leave no trace."""
    x = torch.rand(2, 3, 2, 40, 72, dtype=torch.float64)
    grid = tile_grid(5, 9, 8, 32, 8)
    assert len(grid.tiles) == 2 * 3
    z = encode_tiles([lambda part: part[..., ::8, ::8]] * 6, x, grid, 8)
    assert torch.equal(z, x[..., ::8, ::8])
    repeat = lambda part: part.repeat_interleave(8, -1).repeat_interleave(8, -2)  # noqa: E731
    assert difference(decode_tiles([repeat] * 6, z, grid, 8), repeat(z)) < 1e-6


def test_convolutions_leave_no_trace_where_tiles_overlap_by_their_reach():
    """Without attention, latents that lie farther from inner edges than the encoder's reach are those of the whole."""
    vae = small_vae(torch.float64)
    for half in (vae.encoder, vae.decoder):
        half.middle[1].proj.weight.zero_()
    video = torch.rand(1, 3, 1, 32, 480, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    whole = vae.encode(video)
    # 13 latents of reach and a kept edge in the middle of the overlap: 26 latents
    assert difference(vae.encode(video, tile=320, overlap=208), whole) < 1e-10
    assert difference(vae.encode(video, tile=64, overlap=16), whole) > 1e-3


def test_seams_shrink_with_the_overlap():
    vae = small_vae()
    latents = torch.randn(1, 16, 1, 2, 32, generator=torch.Generator().manual_seed(0))
    whole = vae.decode(latents)
    errors = [difference(vae.decode(latents, tile=128, overlap=shared), whole) for shared in (0, 32, 96)]
    assert errors[0] > errors[1] > errors[2] > 0


@pytest.mark.parametrize(("tile", "overlap"), [(20, None), (8, None), (32, 4), (32, -8)])
def test_tiles_are_multiples_of_latents(tile: int, overlap: int | None):
    with pytest.raises(UserError, match=f"tile={tile}.*expected multiples of 8"):
        tile_grid(8, 8, 8, tile, overlap)
    with pytest.raises(UserError, match="choose larger tiles"):
        tile_grid(8, 8, 8, 32, 32)
