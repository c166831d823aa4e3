"""MinkUNet: residual U-Net of sparse convolutions (Choy et al. 2019, arXiv 1904.08755), with torchsparse's names."""

from __future__ import annotations

from torch import Tensor, nn

from cosmos_lidar.models.sparse.backbone import Backbone
from cosmos_lidar.models.sparse.blocks import UpStage, conv_norm, stage
from cosmos_lidar.models.sparse.norm import SparseReLU
from cosmos_lidar.models.sparse.tensor import SparseTensor

STEM = 32  # channels of the published networks
PLANES = (32, 64, 128, 256, 256, 128, 96, 96)
LAYERS = {"minkunet34": (2, 3, 4, 6, 2, 2, 2, 2), "minkunet18": (2,) * 8, "minkunet18sc": (2,) * 8, "spvcnn": (2,) * 8}
_STEM_CONVOLUTIONS = {"minkunet18sc": 2, "spvcnn": 2}


class MinkUNet(Backbone):
    """Encoder and decoder of four strides with skip connections; features at the resolution of the voxels.

    Args:
        in_channels: features of a voxel.
        out_channels: of the linear classifier; 0: none, and the features of the last block come out, 96 as published.
        name: ``minkunet34``, ``minkunet18`` or ``minkunet18sc``.
        width: channels of the first layer; those of all others are in proportion.
    """

    blocks = ("stem", *(f"stage{step}" for step in range(1, 5)), *(f"up{step}" for step in range(1, 5)))

    def __init__(self, in_channels: int, out_channels: int, name: str = "minkunet34", width: int = STEM) -> None:
        super().__init__()
        planes = planes_of(width)
        self.name, self.in_channels, self.out_channels = name, in_channels, out_channels or planes[-1]
        layers, down, up = LAYERS[name], (width, *planes[:4]), planes[3:]
        widths = (in_channels, *(width,) * _STEM_CONVOLUTIONS.get(name, 1))
        self.stem = nn.Sequential(
            *(part for i, o in zip(widths, widths[1:], strict=False) for part in (*conv_norm(i, o), SparseReLU()))
        )
        self.stage1, self.stage2, self.stage3, self.stage4 = (
            stage(down[step], down[step + 1], layers[step]) for step in range(4)
        )
        self.up1, self.up2, self.up3, self.up4 = (
            UpStage(up[step], up[step + 1], down[3 - step], layers[4 + step]) for step in range(4)
        )
        self.classifier = nn.Sequential(*([nn.Linear(planes[-1], out_channels)] if out_channels else []))

    def forward(self, x: SparseTensor) -> Tensor:
        """Return (V, out_channels), a row per voxel of ``x`` in its order.

        Raises:
            UserError: another number of channels.
        """
        skips = self.encode(x)
        y = skips.pop()
        for up in (self.up1, self.up2, self.up3, self.up4):
            y = up(y, skips.pop())
        return self.classifier(y.feats)

    def encode(self, x: SparseTensor) -> list[SparseTensor]:
        """Return the features of the stem and of the four stages."""
        features = [self.stem(x)]
        for down in (self.stage1, self.stage2, self.stage3, self.stage4):
            features.append(down(features[-1]))
        return features


def planes_of(width: int) -> tuple[int, ...]:
    """Return the channels of the four stages down and the four up; ``width`` are those of the first layer."""
    return tuple(plane * width // STEM for plane in PLANES)
