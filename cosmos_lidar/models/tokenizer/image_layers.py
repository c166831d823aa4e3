"""Encoder and decoder of the image tokenizers (Cosmos-Tokenizer CI and DI), with the published parameter names."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from cosmos_lidar.models.tokenizer.config import TokenizerConfig
from cosmos_lidar.models.tokenizer.wavelets import HaarPatcher2d, HaarUnpatcher2d


def group_norm(channels: int) -> nn.GroupNorm:
    """Return the family's norm: 32 groups, eps 1e-6."""
    return nn.GroupNorm(32, channels, eps=1e-6)


def conv3(inputs: int, outputs: int) -> nn.Conv2d:
    """Return a 3 x 3 convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


class ResBlock(nn.Module):
    """Two convolutions, each after norm and swish, beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.conv1 = group_norm(inputs), conv3(inputs, outputs)
        self.norm2, self.conv2 = group_norm(outputs), conv3(outputs, outputs)
        self.dropout = nn.Dropout(dropout)
        self.nin_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return self.nin_shortcut(x) + h


class AttnBlock(nn.Module):
    """Single-head attention over all positions, residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        h = self.norm(x)
        q, k, v = (layer(h).flatten(2).transpose(1, 2)[:, None] for layer in (self.q, self.k, self.v))
        h = F.scaled_dot_product_attention(q, k, v)[:, 0]
        return x + self.proj_out(h.transpose(1, 2).reshape(x.shape))


class Downsample(nn.Module):
    """Halve height and width: zeros added at right and bottom, then a strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H/2, W/2)."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Double height and width: nearest neighbor, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, 2 H, 2 W)."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """Residual blocks of one resolution, each followed by attention where the config has it."""

    def __init__(self, inputs: int, outputs: int, blocks: int, attention: bool, dropout: float) -> None:
        super().__init__()
        widths = [inputs] + [outputs] * blocks
        self.block = nn.ModuleList(ResBlock(a, b, dropout) for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.attn = nn.ModuleList(AttnBlock(outputs) for _ in range(blocks if attention else 0))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        for i, block in enumerate(self.block):
            x = block(x)
            x = self.attn[i](x) if len(self.attn) else x
        return x


def resample(level: nn.Module, name: str, x: Tensor) -> Tensor:
    """Apply the layer ``downsample`` or ``upsample`` of a level, if it has one of that name."""
    layer = getattr(level, name, None)
    return x if layer is None else layer(x)


class Middle(nn.Module):
    """Residual block, attention where the config has it, residual block."""

    def __init__(self, channels: int, dropout: float, attention: bool = True) -> None:
        super().__init__()
        self.block_1 = ResBlock(channels, channels, dropout)
        self.attn_1 = AttnBlock(channels) if attention else nn.Identity()
        self.block_2 = ResBlock(channels, channels, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        return self.block_2(self.attn_1(self.block_1(x)))


class Encoder(nn.Module):
    """(B, 3, H, W) -> (B, z_channels, H/compression, W/compression)."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        widths = [config.channels, *(config.channels * m for m in config.channels_mult)]
        attention, _ = config.attention_levels
        self.patcher = HaarPatcher2d(config.patch_size)
        self.conv_in = conv3(config.patch_channels, config.channels)
        self.down = nn.ModuleList()
        for i in range(len(config.channels_mult)):
            level = Level(widths[i], widths[i + 1], config.num_res_blocks, i in attention, config.dropout)
            if i < config.num_downsamples:
                level.downsample = Downsample(widths[i + 1])
            self.down.append(level)
        self.mid = Middle(widths[-1], config.dropout, config.mid_attention)
        self.norm_out, self.conv_out = group_norm(widths[-1]), conv3(widths[-1], config.z_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Encode images in [-1, 1]."""
        x = self.conv_in(self.patcher(x))
        for level in self.down:
            x = level(x)
            x = resample(level, "downsample", x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class Decoder(nn.Module):
    """(B, z_channels, h, w) -> (B, 3, h * compression, w * compression)."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        widths = [config.channels * m for m in config.channels_mult]
        count = len(widths)
        _, attention = config.attention_levels
        self.conv_in = conv3(config.z_channels, widths[-1])
        self.mid = Middle(widths[-1], config.dropout, config.mid_attention)
        levels: list[Level] = []
        inputs = widths[-1]
        for i in reversed(range(count)):
            level = Level(inputs, widths[i], config.num_res_blocks + 1, i in attention, config.dropout)
            if i >= count - config.num_downsamples:
                level.upsample = Upsample(widths[i])
            inputs = widths[i]
            levels.insert(0, level)
        self.up = nn.ModuleList(levels)
        self.norm_out, self.conv_out = group_norm(widths[0]), conv3(widths[0], config.patch_channels)
        self.unpatcher = HaarUnpatcher2d(config.patch_size)

    def forward(self, z: Tensor) -> Tensor:
        """Decode to images; values are not clamped."""
        x = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            x = level(x)
            x = resample(level, "upsample", x)
        return self.unpatcher(self.conv_out(F.silu(self.norm_out(x))))
