"""The 2-D network of SECOND over its bird's-eye-view map, with OpenPCDet's names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_CHANNELS, _LAYERS, _UP = (128, 256), 5, 256
OUT_CHANNELS = 2 * _UP


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Return batch norm with the constants of SECOND."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class BevNetwork(nn.Module):
    """Two blocks of six convolutions, at strides 1 and 2, both brought to stride 1 and concatenated.

    Args:
        in_channels: of the map.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        first, second = _CHANNELS
        self.blocks = nn.ModuleList([_block(in_channels, first, stride=1), _block(first, second, stride=2)])
        self.deblocks = nn.ModuleList([_up(first, 1), _up(second, 2)])

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, in_channels, H, W) to (B, 512, H, W), of even H and W."""
        outputs = []
        for block, up in zip(self.blocks, self.deblocks, strict=True):
            x = block(x)
            outputs.append(up(x))
        return torch.cat(outputs, 1)


def _block(in_channels: int, channels: int, stride: int) -> nn.Sequential:
    first = nn.Conv2d(in_channels, channels, 3, stride=stride, bias=False)
    layers: list[nn.Module] = [nn.ZeroPad2d(1), first, batch_norm(channels), nn.ReLU(inplace=True)]
    for _ in range(_LAYERS):
        conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        layers += [conv, batch_norm(channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def _up(in_channels: int, stride: int) -> nn.Sequential:
    conv = nn.ConvTranspose2d(in_channels, _UP, stride, stride=stride, bias=False)
    return nn.Sequential(conv, batch_norm(_UP), nn.ReLU(inplace=True))
