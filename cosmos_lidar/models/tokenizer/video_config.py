"""Configurations of the causal video tokenizers (Cosmos CV, DV), with the published names and values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.tokenizer.field_checks import check_fields


class Scaling(NamedTuple):
    """Whether height and width, and whether time, change between two levels."""

    spatial: bool
    temporal: bool


@dataclass(frozen=True)
class VideoTokenizerConfig:
    """Configuration of a causal video tokenizer.

    Attributes:
        family: "CV" (continuous latents) or "DV" (discrete codes).
        spatial_compression: input pixels per latent position, along height and along width.
        temporal_compression: input frames per latent frame, after the first frame, which has a latent of its own.
        patch_size: side of the Haar patches in time, height and width; a power of two.
        channels: width of the first level.
        channels_mult: width of each level, in multiples of ``channels``.
        num_res_blocks: residual blocks per encoder level; decoder levels have one more.
        z_channels: channels between encoder or decoder and the 1x1 convolutions at the latent.
        latent_channels: channels of the latent, or of the codes.
        in_channels: image channels.
        dropout: dropout probability inside residual blocks.
        levels: levels of the quantizer per code channel, for DV.
    """

    family: str = "CV"
    spatial_compression: int = 8
    temporal_compression: int = 8
    patch_size: int = 4
    channels: int = 128
    channels_mult: tuple[int, ...] = (2, 4, 4)
    num_res_blocks: int = 2
    z_channels: int = 16
    latent_channels: int = 16
    in_channels: int = 3
    dropout: float = 0.0
    levels: tuple[int, ...] = (8, 8, 8, 5, 5, 5)

    def __post_init__(self) -> None:
        """Validate the configuration."""
        check_fields(self)
        sizes = (self.patch_size, self.spatial_compression, self.temporal_compression)
        if any(size & (size - 1) for size in sizes):
            raise UserError(f"patch_size, spatial and temporal compression are {sizes}: expected powers of two")
        if not 0 <= self.temporal_halvings <= self.spatial_halvings <= len(self.channels_mult) - 1:
            self._refuse("do not fit between")
        gaps = range(len(self.channels_mult))
        down, up = ([self.down(i) for i in gaps], [self.up(i) for i in gaps])
        if [sum(kind) for kind in zip(*down, strict=True)] != [sum(kind) for kind in zip(*up, strict=True)]:
            self._refuse("are not undone by the published decoder of")  # no temporal upsampling before the second gap

    def _refuse(self, reason: str) -> None:
        halvings = f"{self.spatial_halvings} halvings of the image and {self.temporal_halvings} of time"
        raise UserError(
            f"{halvings} after patches of {self.patch_size} {reason} {len(self.channels_mult)} levels: "
            "choose other compressions, patch_size or channels_mult"
        )

    @property
    def spatial_halvings(self) -> int:
        """Halvings of height and width after the patches."""
        return int(math.log2(self.spatial_compression / self.patch_size))

    @property
    def temporal_halvings(self) -> int:
        """Halvings of time after the patches."""
        return int(math.log2(self.temporal_compression / self.patch_size))

    @property
    def patch_channels(self) -> int:
        """Channels of the patched clip."""
        return self.in_channels * self.patch_size**3

    def down(self, level: int) -> Scaling:
        """Return what is halved after an encoder level; nothing after the last."""
        last = level == len(self.channels_mult) - 1
        return Scaling(not last and level < self.spatial_halvings, not last and level < self.temporal_halvings)

    def up(self, level: int) -> Scaling:
        """Return what is doubled after a decoder level; nothing after level 0, the last."""
        done = len(self.channels_mult) - 1 - level
        temporal = level > 0 and 0 < done <= self.temporal_halvings
        spatial = level > 0 and done < self.spatial_halvings and self.spatial_halvings > self.temporal_halvings
        return Scaling(temporal or spatial, temporal)


_CV = VideoTokenizerConfig()
_DV = VideoTokenizerConfig(family="DV", latent_channels=6)

VIDEO_CONFIGS: dict[str, VideoTokenizerConfig] = {
    "CV4x8x8": replace(_CV, temporal_compression=4, channels_mult=(2, 4)),
    "CV8x8x8": _CV,
    "CV8x16x16": replace(_CV, spatial_compression=16),
    "CV4x8x8_LowRes": replace(_CV, temporal_compression=4, patch_size=2),
    "DV4x8x8": replace(_DV, temporal_compression=4),
    "DV8x8x8": _DV,
    "DV8x16x16": replace(_DV, spatial_compression=16),
    "DV4x8x8_LowRes": replace(_DV, temporal_compression=4, patch_size=2, z_channels=256),
}
