"""Perceptual loss: distance of VGG16 features (Johnson et al. 2016, arXiv 1603.08155).

Raw features are compared, without normalization or learned heads, with the published weights of the Cosmos tokenizers.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosmos_lidar.errors import DataError
from cosmos_lidar.losses.reconstruction import check_shapes
from cosmos_lidar.models.pretrained import VGG16, load_weights

# Convolutions of torchvision's vgg16().features up to relu5_3, by index: (index, inputs, outputs).
_CONVS = (
    (0, 3, 64),
    (2, 64, 64),
    (5, 64, 128),
    (7, 128, 128),
    (10, 128, 256),
    (12, 256, 256),
    (14, 256, 256),
    (17, 256, 512),
    (19, 512, 512),
    (21, 512, 512),
    (24, 512, 512),
    (26, 512, 512),
    (28, 512, 512),
)
_POOLS = (4, 9, 16, 23)
_TAPS = (3, 8, 15, 22, 29)  # relu1_2, relu2_2, relu3_3, relu4_3, relu5_3
_LAYER_WEIGHTS = (1 / 2.6, 1 / 4.8, 1 / 3.7, 1 / 5.6, 10 / 1.5)
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class Vgg16Features(nn.Module):
    """The five feature maps of VGG16; parameters are named as in torchvision."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.ModuleDict({str(i): nn.Conv2d(a, b, 3, padding=1) for i, a, b in _CONVS})
        self.register_buffer("shift", torch.tensor(_SHIFT).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return relu1_2 … relu5_3 of images (B, 3, H, W) in [-1, 1].

        Raises:
            DataError: images too small for four halvings, or not of three channels.
        """
        if x.ndim != 4 or x.shape[1] != 3:
            raise DataError(f"images of {tuple(x.shape)}", wanted="(B, 3, H, W) for VGG16 features")
        if min(x.shape[2:]) < 16:
            raise DataError(f"images of {x.shape[2]} x {x.shape[3]}", wanted="at least 16 x 16 for VGG16 features")
        x = (x - self.shift) / self.scale
        taps = []
        for index in range(_TAPS[-1] + 1):
            if str(index) in self.features:
                x = self.features[str(index)](x)
            else:
                x = F.max_pool2d(x, 2) if index in _POOLS else F.relu(x)
            if index in _TAPS:
                taps.append(x)
        return taps


class PerceptualLoss(nn.Module):
    """Perceptual loss: weighted mean absolute difference of VGG16 features."""

    def __init__(self, vgg: Vgg16Features) -> None:
        super().__init__()
        self.vgg = vgg.eval().requires_grad_(False)

    def forward(self, reconstruction: Tensor, image: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return (B,) distances.

        Args:
            reconstruction: (B, 3, H, W) in [-1, 1].
            image: (B, 3, H, W) in [-1, 1].
            mask: (B, 1, H, W); features outside it (nearest resizing) do not contribute.

        Raises:
            DataError: shapes that differ, other than three channels, or images too small for the network.
        """
        check_shapes(reconstruction, image, mask)
        total = reconstruction.new_zeros(len(image))
        with torch.no_grad():
            targets = self.vgg(image)
        for weight, ours, target in zip(_LAYER_WEIGHTS, self.vgg(reconstruction), targets, strict=True):
            difference = (ours - target).abs()
            if mask is not None:
                difference = difference * F.interpolate(mask.to(difference), size=difference.shape[-2:])
            total = total + weight * difference.mean((1, 2, 3))
        return total

    def gram(self, reconstruction: Tensor, image: Tensor, frames: int = 1) -> Tensor:
        """Return the Gram (style) loss (B / frames,), of the frames of a clip together when frames > 1.

        Args:
            reconstruction: (B, 3, H, W), the frames of a clip one after the other.
            image: (B, 3, H, W).
            frames: frames per clip.

        Raises:
            DataError: as :meth:`forward`, or frames that do not make whole clips.
        """
        check_shapes(reconstruction, image, None)
        if frames < 1 or len(image) % frames:
            raise DataError(f"{len(image)} images for clips of {frames}", wanted="a multiple")
        total = reconstruction.new_zeros(len(image) // frames)
        with torch.no_grad():
            targets = [_gram(f, frames) for f in self.vgg(image)]
        for weight, ours, target in zip(_LAYER_WEIGHTS, self.vgg(reconstruction), targets, strict=True):
            total = total + weight * (_gram(ours, frames) - target).square().mean((1, 2))
        return total


def load_perceptual(path: str | Path = "") -> PerceptualLoss:
    """Return the loss with the weights of a file: torchvision's ``vgg16`` state dict (.pth) or safetensors.

    Args:
        path: of the file; empty takes torchvision's from torch's cache.

    Raises:
        DataError: no such file, not such a file, or tensors missing from it or not finite; never randomly initialized.
    """
    vgg = Vgg16Features()
    load_weights(vgg, VGG16.find(path), VGG16.wanted)
    return PerceptualLoss(vgg)


def _gram(features: Tensor, frames: int) -> Tensor:
    flat = features.unflatten(0, (-1, frames)).transpose(1, 2).flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[-1]
