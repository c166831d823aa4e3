from __future__ import annotations

import re

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.tokenizer import build_tokenizer
from tests.models.tokenizer.reference import small_tokenizer


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("CI8x8", {"channels": 0}, "channels=0: expected int, at least 1"),
        ("CI8x8", {"channels": "32"}, "channels='32': expected int"),
        ("CI8x8", {"patch_size": 0}, "patch_size=0: expected int, at least 1"),
        ("CI8x8", {"num_res_blocks": -1}, "num_res_blocks=-1: expected int"),
        ("CI8x8", {"latent_channels": 2.5}, "latent_channels=2.5: expected int"),
        ("CI8x8", {"resolution": True}, "resolution=True: expected int"),
        ("CI8x8", {"channels_mult": 4}, "channels_mult=4: expected a list of int, each at least 1"),
        ("CI8x8", {"channels_mult": (1, 0, 1)}, "channels_mult=(1, 0, 1): expected a list of int"),
        ("CI8x8", {"attn_resolutions": 32}, "attn_resolutions=32: expected a list of int"),
        ("CI8x8", {"dropout": 1.0}, "dropout=1.0: expected at least 0 and less than 1"),
        ("DI8x8", {"levels": (8, 8)}, "levels=(8, 8) for latent_channels=6: expected one level per channel"),
        ("DI8x8", {"levels": (8, 1, 8, 5, 5, 5)}, "levels=(8, 1, 8, 5, 5, 5): expected a list of int, each at least 2"),
        ("DI8x8", {"levels": (99,) * 6}, "make 941,480,149,401 codes: at most 16,777,216"),
        ("CV8x8x8", {"temporal_compression": 0}, "temporal_compression=0: expected int, at least 1"),
        ("CI9x9", {}, "unknown tokenizer 'CI9x9'; valid: CI8x8, CI16x16"),
        ("CI8x8", {"channelz": 64}, "unknown field 'channelz' of tokenizer CI8x8; valid: family"),
        ("CI8x8", {"channels": 48}, "channels=48: expected a multiple of 32"),
        ("CI8x8", {"patch_size": 3}, "patch_size=3, spatial_compression=8: expected powers of two"),
        ("CI8x8", {"patch_size": 16}, "-1 halvings"),
        ("CI8x8", {"spatial_compression": 64}, "4 halvings (compression 64, patch 4) do not fit into 3 levels"),
    ],
)
def test_shapes_that_cannot_be_are_explained(name: str, overrides: dict[str, object], message: str):
    with pytest.raises(UserError, match=re.escape(message)):
        build_tokenizer(name, **overrides)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("Cosmos-0.1-Tokenizer-CI8x8", ("CI", 8, 4)),
        ("Cosmos-1.0-Tokenizer-CI8x8-LowRes", ("CI", 8, 2)),
        ("Cosmos-Tokenize1-DI16x16-360p", ("DI", 16, 2)),
    ],
)
def test_published_names_are_understood(name: str, shape: tuple[str, int, int]):
    config = small_tokenizer(name).config
    assert (config.family, config.spatial_compression, config.patch_size) == shape
