"""Encoder and decoder of the Wan2.1 video VAE."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from cosmos_lidar.models.wan_vae.config import WanVAEConfig
from cosmos_lidar.models.wan_vae.layers import (
    CausalConv3d,
    ChannelNorm,
    Downsample,
    FrameAttention,
    ResBlock,
    Upsample,
)
from cosmos_lidar.models.wan_vae.memory import StreamMemory

COLORS = 3


class Encoder(nn.Module):
    """(B, 3, T, H, W) -> (B, 2 latent channels, t, H/8, W/8)."""

    def __init__(self, config: WanVAEConfig) -> None:
        super().__init__()
        widths = [config.dim * multiple for multiple in (1, *config.channels_mult)]
        self.conv1 = CausalConv3d(COLORS, widths[0], (3, 3, 3))
        self.downsamples = nn.ModuleList()
        for level, (inputs, width) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            self.downsamples.extend(_res_blocks(inputs, width, config.num_res_blocks))
            if level < len(config.temporal):
                self.downsamples.append(Downsample(width, config.temporal[level]))
        self.middle = _middle(widths[-1])
        self.head = _head(widths[-1], 2 * config.latent_channels)

    def forward(self, x: Tensor, memory: StreamMemory) -> Tensor:
        """Encode a chunk of a video in [-1, 1]."""
        x = self.conv1(x, memory)
        for layer in self.downsamples:
            x = layer(x, memory)
        return _finish(self.head, _through(self.middle, x, memory), memory)


class Decoder(nn.Module):
    """(B, latent channels, t, h, w) -> (B, 3, T, 8 h, 8 w)."""

    def __init__(self, config: WanVAEConfig) -> None:
        super().__init__()
        widths = [config.dim * multiple for multiple in config.channels_mult[::-1]]
        self.conv1 = CausalConv3d(config.latent_channels, widths[0], (3, 3, 3))
        self.middle = _middle(widths[0])
        self.upsamples = nn.ModuleList()
        inputs, temporal = widths[0], config.temporal[::-1]
        for level, width in enumerate(widths):
            self.upsamples.extend(_res_blocks(inputs, width, config.num_res_blocks + 1))
            if level < len(temporal):
                self.upsamples.append(Upsample(width, temporal[level]))
                inputs = width // 2
        self.head = _head(widths[-1], COLORS)

    def forward(self, z: Tensor, memory: StreamMemory) -> Tensor:
        """Decode a chunk of latents; values are not clamped."""
        x = _through(self.middle, self.conv1(z, memory), memory)
        for layer in self.upsamples:
            x = layer(x, memory)
        return _finish(self.head, x, memory)


def _res_blocks(inputs: int, width: int, count: int) -> list[ResBlock]:
    return [ResBlock(width if number else inputs, width) for number in range(count)]


def _middle(width: int) -> nn.ModuleList:
    return nn.ModuleList([ResBlock(width, width), FrameAttention(width), ResBlock(width, width)])


def _through(middle: nn.ModuleList, x: Tensor, memory: StreamMemory) -> Tensor:
    first, attention, last = middle
    return last(attention(first(x, memory)), memory)


def _head(width: int, outputs: int) -> nn.ModuleDict:
    return nn.ModuleDict({"0": ChannelNorm(width, 3), "2": CausalConv3d(width, outputs, (3, 3, 3))})


def _finish(head: nn.ModuleDict, x: Tensor, memory: StreamMemory) -> Tensor:
    conv = cast(CausalConv3d, head["2"])
    x = conv.extend(head["0"](x, activate=True, inplace=True), memory)
    return conv.convolve(x)
