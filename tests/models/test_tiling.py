from __future__ import annotations

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.tiling import TileGrid, fade, spans


def test_tiles_cover_everything_and_fade_to_one():
    for length in (8, 9, 14, 15, 16, 40, 41):
        found = spans(length, 8, 2)
        assert found[0].start == 0
        assert found[-1].stop == length
        assert [span.keep_start for span in found[1:]] == [span.keep_stop for span in found[:-1]]
        assert all(span.start <= span.keep_start < span.keep_stop <= span.stop for span in found)
        assert all(a.stop - b.start >= 2 for a, b in zip(found[:-1], found[1:], strict=True))
        total = torch.zeros(length * 4)
        for number, span in enumerate(found):
            after = found[number + 1] if number + 1 < len(found) else None
            weight = fade(span, found[number - 1] if number else None, after, 4)
            assert (weight > 0).all()
            total[span.start * 4 : span.stop * 4] += weight
        if length in (8, 9, 14):  # no pixel in more than two tiles; sums of others are divided by
            assert torch.allclose(total, torch.ones_like(total))
    with pytest.raises(UserError, match="choose larger tiles"):
        spans(10, 2, 2)


def test_a_grid_of_one_tile_and_of_many():
    (tile,) = TileGrid(5, 7).tiles
    assert [(span.start, span.stop, span.kept) for span in tile] == [(0, 5, slice(0, 5)), (0, 7, slice(0, 7))]
    grid = TileGrid(9, 14, 8, 2)
    assert len(grid.tiles) == 2 * 2
    total, taken = torch.zeros(9 * 4, 14 * 4), torch.zeros(9, 14)
    for rows, columns in grid.tiles:
        total[rows.start * 4 : rows.stop * 4, columns.start * 4 : columns.stop * 4] += grid.weight(rows, columns, 4)
        part = taken[rows.start : rows.stop, columns.start : columns.stop]
        part[rows.kept, columns.kept] += 1
    assert torch.allclose(total, torch.ones_like(total))
    assert torch.equal(taken, torch.ones_like(taken))  # each latent from one tile
