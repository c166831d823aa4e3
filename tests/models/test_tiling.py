from __future__ import annotations

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.tiling import fade, spans


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
