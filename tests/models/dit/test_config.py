import re

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.dit.config import SHAPES, DiTConfig


def test_numbers_of_a_token():
    published = DiTConfig()
    assert published.head_dim == 128
    assert published.patch_channels == (16 + 1 + 1 + 5) * 2 * 2
    bare = DiTConfig(condition_mask=False, concat_padding_mask=False, view_condition_dim=0, patch_temporal=2)
    assert bare.patch_channels == 16 * 2 * 2 * 2


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_channels": 100, "num_heads": 8}, "model_channels 100 is not a multiple of num_heads 8"),
        ({"model_channels": 36, "num_heads": 4}, "is 9 per head: the 3-D rotary embedding needs an even number"),
        ({"model_channels": 16, "num_heads": 4}, "is 4 per head"),
    ],
)
def test_impossible_widths_are_refused(fields, message):
    with pytest.raises(UserError, match=re.escape(message)):
        DiTConfig(**fields)


def test_shapes_grow_by_name():
    widths = [SHAPES[f"faditv2_{size}"].model_channels for size in ("debug", "3m", "60m", "2b", "7b")]
    assert widths == sorted(set(widths))
    assert SHAPES["faditv2_7b"] == DiTConfig()
