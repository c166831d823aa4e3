from __future__ import annotations

import re

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.tokenizer import build_tokenizer


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"patch_size": 3}, "are (3, 8, 8): expected powers of two"),
        ({"spatial_compression": 64}, "4 halvings of the image and 1 of time after patches of 4 do not fit"),
        ({"channels_mult": (2, 4)}, "are not undone by the published decoder of 2 levels"),
        ({"resolution": 512}, "unknown field 'resolution' of tokenizer CV8x8x8; valid: family"),
    ],
)
def test_shapes_that_cannot_be_are_explained(overrides: dict[str, object], message: str):
    with pytest.raises(UserError, match=re.escape(message)):
        build_tokenizer("CV8x8x8", **overrides)
