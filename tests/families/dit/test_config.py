"""Options of diffusion transformer training that cannot be are refused by name."""

from __future__ import annotations

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.dit.config import DitModelConfig, DitTrainConfig
from cosmos_lidar.recipes import dit
from cosmos_lidar.training.overrides import apply_overrides


def test_the_debug_recipe_is_fine() -> None:
    dit.debug().check()
    assert DitModelConfig(n_views=3).shape() == {"n_views": 3}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("data.latent_shape=[16,4,64]", r"data.latent_shape=\[16, 4, 64\]: expected four sizes"),
        ("data.text_shape=[512]", r"data.text_shape=\[512\]: expected two sizes, such as \[512,1024\], or \[\]"),
        ("model.lora.rank=-1", "model.lora.rank=-1: expected at least 0"),
        ("synthetic_clips=0", r"data.path is empty: give a folder of shards of latents"),
        ("data.batch_size=0", "data.batch_size=0: expected at least 1"),
    ],
)
def test_impossible_options(option: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        apply_overrides(dit.debug(), [option]).check()


def test_without_a_path_nothing_is_known_of_the_data() -> None:
    assert DitTrainConfig().data_facts() == {}
