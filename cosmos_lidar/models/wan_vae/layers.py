"""Layers of the Wan2.1 video VAE, with the published parameter names.

Layers with a temporal receptive field take a :class:`~.memory.StreamMemory`. Convolutions over several columns have a
hook ``halo``, and attention over all positions of a frame has a hook ``gather``: None on one device, set by
``cosmos_lidar.parallel`` where each rank holds a slice of the columns. Layers that compute each pixel by itself are
``pixelwise``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosmos_lidar.models.wan_vae.memory import StreamMemory

Halo = Callable[[Tensor, int, int], Tensor]  # (x, left, right) -> x with that many columns of its neighbors
Gather = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # keys, values (B, 1, L, C) -> those of all slices
_SMALLEST = 1e-12  # norm of a vector that is divided by


class CausalConv3d(nn.Conv3d):
    """3-D convolution, zeros around each frame; in time it sees the frames before, zeros before the first one."""

    halo: Halo | None = None

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, int, int]) -> None:
        super().__init__(inputs, outputs, kernel, padding=(0, kernel[1] // 2, kernel[2] // 2))
        self.past, self.reach = kernel[0] - 1, kernel[2] // 2

    def forward(self, x: Tensor, memory: StreamMemory) -> Tensor:  # type: ignore[override]
        """Map (B, inputs, T, H, W) to (B, outputs, T, H, W)."""
        return self.convolve(self.extend(x, memory))

    def extend(self, x: Tensor, memory: StreamMemory) -> Tensor:
        """Prepend the frames before."""
        return memory.extend(self, x, self.past) if self.past else x

    def convolve(self, x: Tensor) -> Tensor:
        """Convolve frames that were extended."""
        if self.halo is None or not self.reach:
            return super().forward(x)
        return F.conv3d(self.halo(x, self.reach, self.reach), self.weight, self.bias, padding=(0, self.reach, 0))


class FrameConv(nn.Conv2d):
    """3 x 3 convolution of each frame of a video: of the same size, or halving it.

    Halved, images are padded by zeros on the right and at the bottom only.
    """

    halo: Halo | None = None

    def __init__(self, inputs: int, outputs: int, halve: bool = False) -> None:
        super().__init__(inputs, outputs, 3, stride=2 if halve else 1)
        self.before = 0 if halve else 1  # rows and columns of padding; one behind either way

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, T, H, W) to (B, outputs, T, H, W), or to half the height and width."""
        weight = self.weight[:, :, None]  # as a convolution over time, too: no copy with time in the batch
        if self.halo is None and self.before:
            return F.conv3d(x, weight, self.bias, padding=(0, 1, 1))
        x = F.pad(x, (self.before, 1)) if self.halo is None else self.halo(x, self.before, 1)
        return F.conv3d(F.pad(x, (0, 0, self.before, 1)), weight, self.bias, (1, *self.stride))


class ChannelNorm(nn.Module):
    """RMS norm over the channels of each pixel, with a gain and no bias.

    Args:
        channels: of the input.
        axes: of the input behind the channels; of the gain, too, in published files.
    """

    pixelwise = True

    def __init__(self, channels: int, axes: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *[1] * axes))

    def forward(self, x: Tensor, activate: bool = False, inplace: bool = False) -> Tensor:
        """Map (B, C, …) to the same shape: x / |x| · sqrt(C) · gamma.

        Args:
            x: the input.
            activate: apply x · sigmoid(x) afterwards.
            inplace: overwrite the input where no gradient is wanted: these are the largest tensors of the network.
        """
        gain = self.gamma * self.gamma.shape[0] ** 0.5
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True).clamp_min(_SMALLEST)
        if torch.is_grad_enabled():
            x = x / length * gain
            return F.silu(x) if activate else x
        x = (x.div_(length) if inplace else x / length).mul_(gain)
        return F.silu(x, inplace=True) if activate else x


class ResBlock(nn.Module):
    """Two causal convolutions, each after norm and swish, beside a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        convs = {"2": CausalConv3d(inputs, outputs, (3, 3, 3)), "6": CausalConv3d(outputs, outputs, (3, 3, 3))}
        self.residual = nn.ModuleDict({"0": ChannelNorm(inputs, 3), "3": ChannelNorm(outputs, 3), **convs})
        self.shortcut = CausalConv3d(inputs, outputs, (1, 1, 1)) if inputs != outputs else None

    def forward(self, x: Tensor, memory: StreamMemory) -> Tensor:
        """Map (B, inputs, T, H, W) to (B, outputs, T, H, W)."""
        layers = self.residual
        first, second = cast(CausalConv3d, layers["2"]), cast(CausalConv3d, layers["6"])
        h = first.extend(layers["0"](x, activate=True), memory)
        h = first.convolve(h)  # in two calls: what was extended is freed before the convolution
        h = second.extend(layers["3"](h, activate=True, inplace=True), memory)
        h = second.convolve(h)
        return h.add_(x if self.shortcut is None else self.shortcut(x, memory))


class FrameAttention(nn.Module):
    """Single-head attention over all positions of each frame, residual."""

    gather: Gather | None = None

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels, 2)
        self.to_qkv, self.proj = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.proj.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T, H, W) to the same shape."""
        return torch.stack([self._attend(frame) for frame in x.unbind(2)], dim=2)  # scores of one frame at a time

    def _attend(self, x: Tensor) -> Tensor:
        q, k, v = (part.flatten(2).transpose(1, 2)[:, None] for part in self.to_qkv(self.norm(x)).chunk(3, dim=1))
        if self.gather is not None:
            k, v = self.gather(k, v)
        h = F.scaled_dot_product_attention(q, k, v)[:, 0].transpose(1, 2)
        return x + self.proj(h.reshape(x.shape))


class Downsample(nn.Module):
    """Halve height and width, then time where ``temporal``; the first frame of a video stays by itself."""

    def __init__(self, channels: int, temporal: bool) -> None:
        super().__init__()
        self.resample = nn.ModuleDict({"1": FrameConv(channels, channels, halve=True)})
        self.time_conv = nn.Conv3d(channels, channels, (3, 1, 1), (2, 1, 1)) if temporal else None

    def forward(self, x: Tensor, memory: StreamMemory) -> Tensor:
        """Map (B, C, T, H, W) to (B, C, T', H/2, W/2): T' is 1 + (T - 1)/2 at the start of a video, then T/2."""
        x = self.resample["1"](x)
        if self.time_conv is None:
            return x
        first = () if memory.begun else (x[:, :, :1],)
        whole = memory.extend(self, x, 1, fill=False)
        rest = (self.time_conv(whole),) if whole.shape[2] > 1 else ()
        return torch.cat((*first, *rest), dim=2)


class Upsample(nn.Module):
    """Double time where ``temporal``, then height and width, and halve the channels.

    The first frame of a video stays one, and what follows does not see it: the causal convolution that doubles time
    starts with zeros at the second frame.
    """

    def __init__(self, channels: int, temporal: bool) -> None:
        super().__init__()
        self.resample = nn.ModuleDict({"1": FrameConv(channels, channels // 2)})
        self.time_conv = CausalConv3d(channels, 2 * channels, (3, 1, 1)) if temporal else None

    def forward(self, x: Tensor, memory: StreamMemory) -> Tensor:
        """Map (B, C, T, H, W) to (B, C/2, T', 2 H, 2 W): T' is 2 T - 1 at the start of a video, then 2 T."""
        if self.time_conv is not None:
            x = self._double_time(self.time_conv, x, memory)
        return self.resample["1"](F.interpolate(x, scale_factor=(1.0, 2.0, 2.0), mode="nearest-exact"))

    @staticmethod
    def _double_time(time_conv: CausalConv3d, x: Tensor, memory: StreamMemory) -> Tensor:
        first, rest = (x[:, :, :0], x) if memory.begun else (x[:, :, :1], x[:, :, 1:])
        if not rest.shape[2]:
            return first
        even, odd = time_conv(rest, memory).chunk(2, dim=1)
        return torch.cat((first, torch.stack((even, odd), dim=3).flatten(2, 3)), dim=2)
