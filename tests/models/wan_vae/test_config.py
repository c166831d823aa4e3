from __future__ import annotations

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.wan_vae import CONFIGS, WanVAEConfig


def test_published_sizes():
    config = CONFIGS["wan2_1"]
    assert (config.dim, config.latent_channels) == (96, 16)
    assert (config.temporal_compression, config.spatial_compression) == (4, 8)
    assert config.latent_shape(29, 704, 1280) == (16, 8, 88, 160)
    assert config.latent_shape(1, 480, 848) == (16, 1, 60, 106)
    assert (len(config.latent_mean), len(config.latent_std)) == (16, 16)


@pytest.mark.parametrize("changes", [{"dim": 7}, {"dim": 0}, {"temporal": (True,)}, {"latent_mean": (0.0,)}])
def test_impossible_configurations_are_refused(changes: dict):
    with pytest.raises(UserError, match="expected"):
        WanVAEConfig(**changes)
