"""Validation of the configuration fields shared by image and video tokenizers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

from cosmos_lidar.errors import UserError

_MOST_CODES = 1 << 24
_COUNTS = ("spatial_compression", "temporal_compression", "patch_size", "channels", "num_res_blocks", "z_channels",
           "latent_channels", "in_channels", "resolution")  # fmt: skip
_LISTS = {"channels_mult": 1, "attn_resolutions": 1, "levels": 2}


class Shape(Protocol):
    """Configuration fields shared by all tokenizers."""

    @property
    def family(self) -> str:
        """Member of the family, such as ``CI``."""

    @property
    def dropout(self) -> float:
        """Dropout probability in training."""

    @property
    def levels(self) -> tuple[int, ...]:
        """Levels of the quantizer per code channel."""

    @property
    def latent_channels(self) -> int:
        """Channels of the latent, or of the codes."""


def check_fields(config: Shape) -> None:
    """Validate field values, and turn lists into tuples.

    Args:
        config: a frozen dataclass with some of the fields that are checked here.

    Raises:
        UserError: the message names the field, its value and what is expected.
    """
    for name in (name for name in _COUNTS if hasattr(config, name)):
        value = getattr(config, name)
        if not _is_count(value, 1):
            raise UserError(f"{name}={value!r}: expected int, at least 1")
    for name in (name for name in _LISTS if hasattr(config, name)):
        values = getattr(config, name)
        if not isinstance(values, Sequence) or not all(_is_count(value, _LISTS[name]) for value in values):
            raise UserError(f"{name}={values!r}: expected a list of int, each at least {_LISTS[name]}")
        object.__setattr__(config, name, tuple(values))
    if isinstance(config.dropout, str) or not 0 <= config.dropout < 1:
        raise UserError(f"dropout={config.dropout!r}: expected at least 0 and less than 1")
    if config.family.startswith("D"):
        _check_levels(config.levels, config.latent_channels)


def _check_levels(levels: tuple[int, ...], latent_channels: int) -> None:
    if len(levels) != latent_channels:
        raise UserError(f"levels={levels} for latent_channels={latent_channels}: expected one level per channel")
    if math.prod(levels) > _MOST_CODES:
        raise UserError(f"levels={levels} make {math.prod(levels):,} codes: at most {_MOST_CODES:,} are possible")


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
