"""Fields of tokenizer shapes: counts, lists, dropout and levels, on a config of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.tokenizer.field_checks import check_fields


@dataclass(frozen=True)
class Shape:
    family: str = "DI"
    channels: object = 32
    channels_mult: object = (1, 2)
    latent_channels: object = 2
    levels: object = (8, 5)
    dropout: object = 0.0


def test_good_fields_pass_and_lists_become_tuples():
    shape = Shape(channels_mult=[1, 4], levels=[8, 8])
    check_fields(shape)
    assert shape.channels_mult == (1, 4)
    assert shape.levels == (8, 8)
    hash(shape)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"channels": 0}, "channels=0"),
        ({"channels": True}, "channels=True"),
        ({"channels": 1.0}, "channels=1.0"),
        ({"channels_mult": (1, 0)}, "channels_mult=(1, 0)"),
        ({"channels_mult": 3}, "channels_mult=3"),
        ({"levels": (8, 1)}, "levels=(8, 1)"),
        ({"levels": (8, 8, 8)}, "levels=(8, 8, 8) for latent_channels=2"),
        ({"levels": (4096, 4097)}, "16,781,312 codes"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"dropout": -0.1}, "dropout=-0.1"),
        ({"dropout": "0.1"}, "dropout='0.1'"),
    ],
)
def test_wrong_fields_are_named(fields: dict[str, object], message: str):
    with pytest.raises(UserError, match=re.escape(message)):
        check_fields(Shape(**fields))


def test_levels_of_continuous_families_do_not_matter():
    check_fields(Shape(family="CI", levels=(8, 8, 8)))
