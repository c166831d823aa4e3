"""Encoder and decoder of the causal video tokenizers (Cosmos-Tokenizer CV and DV), with the published parameter names.

Causal: a frame never sees a later one. Convolutions and attention are split into a spatial and a temporal part.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosmos_lidar.models.tokenizer.image_layers import resample
from cosmos_lidar.models.tokenizer.video_config import Scaling, VideoTokenizerConfig
from cosmos_lidar.models.tokenizer.wavelets_3d import HaarPatcher3d, HaarUnpatcher3d

_Size = tuple[int, int, int]  # time, height, width


class CausalConv3d(nn.Module):
    """3D convolution that repeats the first frame before the clip and adds zeros around the image."""

    def __init__(self, inputs: int, outputs: int, kernel: _Size = (1, 1, 1), stride: _Size = (1, 1, 1)) -> None:
        super().__init__()
        self.repeats = kernel[0] - stride[0]
        padding = (0, 0, 0) if stride[1] > 1 else (0, kernel[1] // 2, kernel[2] // 2)
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T, H, W) to (B, outputs, T', H', W')."""
        return self.conv3d(self.with_past(x))

    def with_past(self, x: Tensor) -> Tensor:
        """Prepend the causal padding: copies of the first frame."""
        return repeat_first(x, self.repeats)


def repeat_first(x: Tensor, times: int) -> Tensor:
    """Prepend ``times`` copies of the first frame to (B, C, T, H, W) (causal padding)."""
    return torch.cat((x[:, :, :1].expand(-1, -1, times, -1, -1), x), dim=2) if times > 0 else x


def spatial_conv(inputs: int, outputs: int) -> CausalConv3d:
    """Return a spatial convolution, frame by frame."""
    return CausalConv3d(inputs, outputs, (1, 3, 3))


def temporal_conv(inputs: int, outputs: int) -> CausalConv3d:
    """Return a temporal convolution, pixel by pixel."""
    return CausalConv3d(inputs, outputs, (3, 1, 1))


def both_convs(inputs: int, outputs: int) -> nn.Sequential:
    """Return a spatial convolution directly followed by a temporal one."""
    return nn.Sequential(spatial_conv(inputs, outputs), temporal_conv(outputs, outputs))


class FrameNorm(nn.Module):
    """Group norm of each frame, over channels and pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to the same shape."""
        return unfold_frames(self.norm(fold_frames(x)), x)


def fold_frames(x: Tensor) -> Tensor:
    """Fold time into the batch: (B T, C, H, W) of (B, C, T, H, W)."""
    return x.transpose(1, 2).flatten(0, 1)


def unfold_frames(frames: Tensor, like: Tensor) -> Tensor:
    """Undo :func:`fold_frames`: (B, C, T, H, W) of (B T, C, H, W), with the B and T of ``like``."""
    return frames.unflatten(0, (like.shape[0], like.shape[2])).transpose(1, 2)


class VideoResBlock(nn.Module):
    """Two split convolutions, each after norm and swish, beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.conv1 = FrameNorm(inputs), both_convs(inputs, outputs)
        self.norm2, self.conv2 = FrameNorm(outputs), both_convs(outputs, outputs)
        self.dropout = nn.Dropout(dropout)
        self.nin_shortcut = CausalConv3d(inputs, outputs) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T, H, W) to (B, outputs, T, H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(self.dropout(F.silu(self.norm2(h))))
        return self.nin_shortcut(x) + h


class _Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = FrameNorm(channels)
        self.q, self.k, self.v, self.proj_out = (CausalConv3d(channels, channels) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to the same shape."""
        h = self.norm(x)
        return x + self.proj_out(self.attend(self.q(h), self.k(h), self.v(h)))

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend; (B, C, T, H, W) each."""
        raise NotImplementedError


class SpatialAttention(_Attention):
    """Single-head attention over all positions of a frame, residual."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend within each frame."""
        rows, keys, values = (fold_frames(part).flatten(2).transpose(1, 2)[:, None] for part in (q, k, v))
        h = F.scaled_dot_product_attention(rows, keys, values)[:, 0].transpose(1, 2)
        return unfold_frames(h.reshape(fold_frames(q).shape), q)


class TemporalAttention(_Attention):
    """Causal single-head attention over time, per pixel, residual."""

    def attend(self, q: Tensor, k: Tensor, v: Tensor, window: int | None = None) -> Tensor:
        """Causal attention over time, per pixel; unfused, as fused kernels refuse such batch sizes.

        Args:
            q: (B, C, T, H, W).
            k: (B, C, S, H, W), of which the last T are at the times of ``q``.
            v: as ``k``.
            window: number of past frames that each query attends to; None for all.
        """
        q, k, rows = (part.permute(0, 3, 4, 2, 1) for part in (q, k, v))  # (B, H, W, T, C)
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        ahead = k.shape[3] - q.shape[3]
        hidden = torch.ones_like(scores[0, 0, 0], dtype=torch.bool).triu(1 + ahead)
        if window is not None:
            hidden |= torch.ones_like(hidden).tril(ahead - window - 1)
        return (scores.masked_fill(hidden, float("-inf")).softmax(-1) @ rows).permute(0, 4, 3, 1, 2)


class HybridDown(nn.Module):
    """Halve images, time or both, by a strided convolution plus the mean."""

    def __init__(self, channels: int, scaling: Scaling) -> None:
        super().__init__()
        self.scaling = scaling
        if scaling.spatial:
            self.conv1 = CausalConv3d(channels, channels, (1, 3, 3), (1, 2, 2))
        if scaling.temporal:
            self.conv2 = CausalConv3d(channels, channels, (3, 1, 1), (2, 1, 1))
        self.conv3 = CausalConv3d(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C, 1 + (T - 1)/2, H/2, W/2), or to a part of that."""
        if self.scaling.spatial:
            x = self.conv1(F.pad(x, (0, 1, 0, 1))) + self.spatial_mean(x)
        return self.after_spatial(x)

    @staticmethod
    def spatial_mean(x: Tensor) -> Tensor:
        """Average squares of four pixels; no pooling layer, as those have no bfloat16 on the CPU."""
        return x.unflatten(4, (-1, 2)).unflatten(3, (-1, 2)).mean((4, 6))

    def after_spatial(self, x: Tensor) -> Tensor:
        """Apply the temporal half, if any, and the 1 x 1 convolution."""
        if self.scaling.temporal:
            x = self.paired(x)
            x = self.conv2(x) + x.unflatten(2, (-1, 2)).mean(3)
        return self.conv3(x)

    def paired(self, x: Tensor) -> Tensor:
        """Duplicate the first frame (causal padding of pairs)."""
        return repeat_first(x, 1)


class HybridUp(nn.Module):
    """Double time, images or both, by repetition and a residual convolution."""

    def __init__(self, channels: int, scaling: Scaling) -> None:
        super().__init__()
        self.scaling = scaling
        if scaling.temporal:
            self.conv1 = temporal_conv(channels, channels)
        if scaling.spatial:
            self.conv2 = spatial_conv(channels, channels)
        self.conv3 = CausalConv3d(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to (B, C, 2 T - 1, 2 H, 2 W), or to a part of that."""
        if self.scaling.temporal:
            x = self.unpaired(x.repeat_interleave(2, dim=2))
            x = self.conv1(x) + x
        if self.scaling.spatial:
            x = unfold_frames(F.interpolate(fold_frames(x), scale_factor=2.0, mode="nearest"), x)
            x = self.conv2(x) + x
        return self.conv3(x)

    def unpaired(self, x: Tensor) -> Tensor:
        """Drop the duplicate of the first frame."""
        return x[:, :, 1:]


class VideoLevel(nn.Module):
    """Residual blocks of one resolution."""

    def __init__(self, inputs: int, outputs: int, blocks: int, dropout: float) -> None:
        super().__init__()
        widths = [inputs] + [outputs] * blocks
        self.block = nn.ModuleList(VideoResBlock(a, b, dropout) for a, b in zip(widths[:-1], widths[1:], strict=True))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T, H, W) to (B, outputs, T, H, W)."""
        for block in self.block:
            x = block(x)
        return x


class VideoMiddle(nn.Module):
    """Residual block, spatial and temporal attention, residual block."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.block_1 = VideoResBlock(channels, channels, dropout)
        self.attn_1 = nn.Sequential(SpatialAttention(channels), TemporalAttention(channels))
        self.block_2 = VideoResBlock(channels, channels, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to the same shape."""
        return self.block_2(self.attn_1(self.block_1(x)))


class VideoEncoder(nn.Module):
    """(B, 3, T, H, W) -> (B, z_channels, 1 + (T - 1)/tc, H/sc, W/sc)."""

    def __init__(self, config: VideoTokenizerConfig) -> None:
        super().__init__()
        widths = [config.channels, *(config.channels * m for m in config.channels_mult)]
        self.patcher3d = HaarPatcher3d(config.patch_size)
        self.conv_in = both_convs(config.patch_channels, config.channels)
        self.down = nn.ModuleList()
        for i in range(len(config.channels_mult)):
            level = VideoLevel(widths[i], widths[i + 1], config.num_res_blocks, config.dropout)
            if any(config.down(i)):
                level.downsample = HybridDown(widths[i + 1], config.down(i))
            self.down.append(level)
        self.mid = VideoMiddle(widths[-1], config.dropout)
        self.norm_out, self.conv_out = FrameNorm(widths[-1]), both_convs(widths[-1], config.z_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Encode clips in [-1, 1]."""
        x = self.conv_in(self.patcher3d(x))
        for level in self.down:
            x = level(x)
            x = resample(level, "downsample", x)
        return self.conv_out(F.silu(self.norm_out(self.mid(x))))


class VideoDecoder(nn.Module):
    """(B, z_channels, t, h, w) -> (B, 3, 1 + (t - 1) tc, h sc, w sc)."""

    def __init__(self, config: VideoTokenizerConfig) -> None:
        super().__init__()
        widths = [config.channels * m for m in config.channels_mult]
        self.conv_in = both_convs(config.z_channels, widths[-1])
        self.mid = VideoMiddle(widths[-1], config.dropout)
        levels = []
        for i, width in enumerate(widths):
            level = VideoLevel(widths[min(i + 1, len(widths) - 1)], width, config.num_res_blocks + 1, config.dropout)
            if any(config.up(i)):
                level.upsample = HybridUp(width, config.up(i))
            levels.append(level)
        self.up = nn.ModuleList(levels)
        self.norm_out, self.conv_out = FrameNorm(widths[0]), both_convs(widths[0], config.patch_channels)
        self.unpatcher3d = HaarUnpatcher3d(config.patch_size)

    def forward(self, z: Tensor) -> Tensor:
        """Decode to clips; values are not clamped."""
        x = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            x = level(x)
            x = resample(level, "upsample", x)
        return self.unpatcher3d(self.conv_out(F.silu(self.norm_out(x))))
