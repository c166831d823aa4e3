"""Configurations of the image tokenizers (Cosmos CI, DI), with the published names and values."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, replace
from typing import Any

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.tokenizer.field_checks import check_fields
from cosmos_lidar.models.tokenizer.video_config import VIDEO_CONFIGS, VideoTokenizerConfig

PUBLISHED, VALIDITY = "published", "validity"
CODINGS = (PUBLISHED, VALIDITY)  # of range images, see range_coding.py; here as configurations need no torch


@dataclass(frozen=True)
class TokenizerConfig:
    """Configuration of an image tokenizer.

    Attributes:
        family: "CI" (images, continuous latents) or "DI" (images, discrete codes).
        spatial_compression: input pixels per latent position, along height and along width.
        patch_size: side of the Haar patches, the first part of that compression; a power of two.
        channels: width of the first level.
        channels_mult: width of each level, in multiples of ``channels``.
        num_res_blocks: residual blocks per encoder level; decoder levels have one more.
        attn_resolutions: levels at which attention follows each residual block, by tracked resolution.
        resolution: input size from which resolutions are tracked. It changes the network only by where it makes
            ``attn_resolutions`` come true: 512 gives the published lidar decoder its three extra attention blocks.
        z_channels: channels between encoder or decoder and the 1x1 convolutions at the latent.
        latent_channels: channels of the latent, or of the codes.
        in_channels: image channels.
        dropout: dropout probability inside residual blocks.
        levels: levels of the quantizer per code channel, for discrete families.
        coding: of range images, "published" or "validity", see :mod:`~cosmos_lidar.models.tokenizer.range_coding`.
        scale: the expected error of each pixel is decoded, too; with the coding "validity".
        mid_attention: attention between the two residual blocks in the middle of encoder and decoder, as published; its
            cost grows with the square of the image's area.
    """

    family: str = "CI"
    spatial_compression: int = 8
    patch_size: int = 4
    channels: int = 128
    channels_mult: tuple[int, ...] = (2, 4, 4)
    num_res_blocks: int = 2
    attn_resolutions: tuple[int, ...] = (32,)
    resolution: int = 1024
    z_channels: int = 16
    latent_channels: int = 16
    in_channels: int = 3
    dropout: float = 0.0
    levels: tuple[int, ...] = (8, 8, 8, 5, 5, 5)
    coding: str = PUBLISHED
    scale: bool = False
    mid_attention: bool = True

    def __post_init__(self) -> None:
        """Validate the configuration."""
        check_fields(self)
        if self.channels % 32:
            raise UserError(f"channels={self.channels}: expected a multiple of 32 (group norms of 32 groups)")
        if self.patch_size & (self.patch_size - 1) or self.spatial_compression & (self.spatial_compression - 1):
            raise UserError(
                f"patch_size={self.patch_size}, spatial_compression={self.spatial_compression}: expected powers of two"
            )
        if self.coding not in CODINGS:
            raise UserError(f"coding={self.coding!r}; valid: {', '.join(CODINGS)}")
        if self.coding == PUBLISHED and self.scale:
            raise UserError(f"scale=True needs coding={VALIDITY}: the published coding has no channel for it")
        if self.coding != PUBLISHED and self.in_channels != 3:
            raise UserError(f"coding={self.coding} with in_channels={self.in_channels}: expected 3")
        if not 0 <= self.num_downsamples <= len(self.channels_mult):
            raise UserError(
                f"{self.num_downsamples} halvings (compression {self.spatial_compression}, patch {self.patch_size}) "
                f"do not fit into {len(self.channels_mult)} levels"
            )

    @property
    def num_downsamples(self) -> int:
        """Strided convolutions, after the Haar patches."""
        return int(math.log2(self.spatial_compression) - math.log2(self.patch_size))

    @property
    def attention_levels(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Levels of the encoder, and of the decoder, whose residual blocks are followed by attention.

        The published decoder starts counting at the resolution after one halving per level but the first, whether or
        not those halvings exist: that is how resolution=512 comes to mean attention at level 2.
        """
        levels, halvings = len(self.channels_mult), self.num_downsamples
        size = self.resolution // self.patch_size
        encoder = {i: size // 2 ** min(i, halvings) for i in range(levels)}
        decoder = {levels - 1 - r: size // 2 ** (levels - 1) * 2 ** min(r, halvings) for r in range(levels)}
        return self._attended(encoder), self._attended(decoder)

    def _attended(self, sizes: dict[int, int]) -> tuple[int, ...]:
        return tuple(sorted(level for level, size in sizes.items() if size in self.attn_resolutions))

    @property
    def patch_channels(self) -> int:
        """Channels of the patched image."""
        return self.in_channels * self.patch_size**2


_DISCRETE = TokenizerConfig(family="DI", z_channels=256, latent_channels=6)

CONFIGS: dict[str, TokenizerConfig] = {
    "CI8x8": TokenizerConfig(),
    "CI16x16": TokenizerConfig(spatial_compression=16),
    "CI8x8_LowRes": TokenizerConfig(patch_size=2),
    "CI16x16_LowRes": TokenizerConfig(patch_size=2, spatial_compression=16),
    "DI8x8": _DISCRETE,
    "DI16x16": replace(_DISCRETE, spatial_compression=16),
    "DI8x8_LowRes": replace(_DISCRETE, patch_size=2),
    "DI16x16_LowRes": replace(_DISCRETE, patch_size=2, spatial_compression=16),
}


def tokenizer_config(name: str, **overrides: Any) -> TokenizerConfig | VideoTokenizerConfig:
    """Return the configuration of a published tokenizer, with fields replaced.

    Args:
        name: such as ``"CI8x8"`` or ``"CV8x8x8"``; ``-``, ``_360p`` and ``_720p`` spellings and the
            ``Cosmos-…-Tokenizer-`` prefix are understood.
        **overrides: fields of :class:`TokenizerConfig` or :class:`VideoTokenizerConfig`.

    Raises:
        UserError: unknown name or field.
    """
    members: dict[str, TokenizerConfig | VideoTokenizerConfig] = {**CONFIGS, **VIDEO_CONFIGS}
    key = name.rsplit("Tokenizer-", 1)[-1].rsplit("Tokenize1-", 1)[-1].replace("-", "_")
    key = key.replace("_360p", "_LowRes").removesuffix("_720p")
    if key not in members:
        raise UserError(f"unknown tokenizer {name!r}; valid: {', '.join(members)}")
    fields = [field.name for field in dataclasses.fields(members[key])]
    unknown = sorted(set(overrides) - set(fields))
    if unknown:
        raise UserError(f"unknown field {unknown[0]!r} of tokenizer {name}; valid: {', '.join(fields)}")
    return replace(members[key], **overrides)
