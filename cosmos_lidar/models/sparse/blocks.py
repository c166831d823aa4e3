"""Blocks of MinkUNet and SPVCNN: convolution with batch norm, residual block, upsampling, with the published names."""

from __future__ import annotations

from torch import nn

from cosmos_lidar.models.sparse.conv import SparseConv3d
from cosmos_lidar.models.sparse.norm import SparseBatchNorm, SparseReLU
from cosmos_lidar.models.sparse.tensor import SparseTensor, cat_feats


def conv_norm(
    in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1, inverse: bool = False
) -> list[nn.Module]:
    """Return a convolution without bias and its batch norm."""
    conv = SparseConv3d(in_channels, out_channels, kernel_size=kernel_size, stride=stride, inverse=inverse)
    return [conv, SparseBatchNorm(out_channels)]


class ConvBlock(nn.Module):
    """Convolution, batch norm, ReLU.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel_size: of the convolution.
        stride: of the convolution.
        inverse: upsample by an inverse convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 2, stride: int = 2, inverse: bool = False
    ) -> None:
        super().__init__()
        self.net = nn.Sequential(*conv_norm(in_channels, out_channels, kernel_size, stride, inverse), SparseReLU())

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Apply the block."""
        return self.net(x)


class ResidualBlock(nn.Module):
    """ReLU of (convolution, batch norm, ReLU, convolution, batch norm) plus a shortcut.

    Args:
        in_channels: of the input.
        out_channels: of the output; where they differ the shortcut is a 1x1x1 convolution with batch norm.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *conv_norm(in_channels, out_channels), SparseReLU(), *conv_norm(out_channels, out_channels)
        )
        same = in_channels == out_channels
        self.downsample = nn.Sequential(*([] if same else conv_norm(in_channels, out_channels, kernel_size=1)))

    def forward(self, x: SparseTensor) -> SparseTensor:
        """Apply the block."""
        return x.with_feats((self.net(x).feats + self.downsample(x).feats).relu_())


def stage(in_channels: int, out_channels: int, blocks: int) -> nn.Sequential:
    """Return a strided convolution and residual blocks: one step down of the encoder."""
    return nn.Sequential(ConvBlock(in_channels, in_channels), *residual_blocks(in_channels, out_channels, blocks))


def residual_blocks(in_channels: int, out_channels: int, count: int) -> list[nn.Module]:
    """Return residual blocks; the first one changes the number of channels."""
    return [ResidualBlock(in_channels if not number else out_channels, out_channels) for number in range(count)]


class UpStage(nn.ModuleList):
    """One step up of the decoder: inverse convolution, skip connection, residual blocks.

    Args:
        in_channels: from below.
        out_channels: of the output.
        skip_channels: of the encoder's features at the sites that it goes up to.
        blocks: number of residual blocks.
    """

    def __init__(self, in_channels: int, out_channels: int, skip_channels: int, blocks: int) -> None:
        up = ConvBlock(in_channels, out_channels, inverse=True)
        super().__init__([up, nn.Sequential(*residual_blocks(out_channels + skip_channels, out_channels, blocks))])

    def forward(self, x: SparseTensor, skip: SparseTensor) -> SparseTensor:
        """Go up to the sites of ``skip``; channels are those from below, then those of the encoder."""
        up, blocks = self
        return blocks(cat_feats(up(x), skip))
