"""LPIPS: perceptual distance of images with learned channel weights (Zhang et al. 2018).

arXiv 1801.03924, version 0.1 of the weights. Two files are needed: the network itself (torchvision's ``vgg16`` or
``alexnet``) and the learned weights of its channels (``vgg.pth`` or ``alex.pth`` of the authors; the package
torchmetrics contains both, and they are taken from there). TokenBench reports the ``vgg`` variant.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.losses.perceptual import Vgg16Features
from cosmos_lidar.losses.reconstruction import check_shapes
from cosmos_lidar.models.pretrained import ALEXNET, VGG16, load_weights, read_weights

VARIANTS = ("vgg", "alex")
_SMALLEST = {"vgg": 16, "alex": 63}  # smaller images leave a layer without positions


class AlexNetFeatures(nn.Module):
    """The five feature maps of AlexNet; parameters are named as in torchvision."""

    def __init__(self) -> None:
        super().__init__()
        convolutions = {
            "0": nn.Conv2d(3, 64, 11, 4, 2),
            "3": nn.Conv2d(64, 192, 5, padding=2),
            "6": nn.Conv2d(192, 384, 3, padding=1),
            "8": nn.Conv2d(384, 256, 3, padding=1),
            "10": nn.Conv2d(256, 256, 3, padding=1),
        }
        self.features = nn.ModuleDict(convolutions)
        self.register_buffer("shift", torch.tensor((-0.030, -0.088, -0.188)).view(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor((0.458, 0.448, 0.450)).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return relu1 … relu5 of images (B, 3, H, W) in [-1, 1]."""
        x = (x - self.shift) / self.scale
        taps = []
        for name, convolution in self.features.items():
            if name in ("3", "6"):
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(convolution(x))
            taps.append(x)
        return taps


class Lpips(nn.Module):
    """LPIPS distance: squared differences of unit features, weighted by channel, mean over places, sum of layers.

    Args:
        features: network with five feature maps.
        heads: five tensors (1, C, 1, 1), weights of the channels of each.
        variant: "vgg" or "alex".
    """

    def __init__(self, features: nn.Module, heads: list[Tensor], variant: str) -> None:
        super().__init__()
        self.variant = variant
        self.features = features.eval().requires_grad_(False)
        self.heads = nn.ParameterList(nn.Parameter(head.float(), requires_grad=False) for head in heads)

    def forward(self, reconstruction: Tensor, image: Tensor) -> Tensor:
        """Return (B,) distances, 0 for equal images.

        Args:
            reconstruction: (B, 3, H, W) in [-1, 1].
            image: of the same shape.

        Raises:
            DataError: shapes that differ, or images too small for the network.
        """
        check_shapes(reconstruction, image, None)
        least = _SMALLEST[self.variant]
        if min(image.shape[2:]) < least:
            found = f"images of {image.shape[2]} x {image.shape[3]}"
            raise DataError(found, wanted=f"at least {least} x {least} for LPIPS ({self.variant})")
        total = reconstruction.new_zeros(len(image))
        pairs = zip(self.heads, self.features(reconstruction), self.features(image), strict=True)
        for head, ours, theirs in pairs:
            difference = (_unit(ours) - _unit(theirs)).square()
            total = total + (head * difference).sum(1).mean((1, 2))
        return total


def load_lpips(variant: str = "vgg", network_weights: str | Path = "", head_weights: str | Path = "") -> Lpips:
    """Return LPIPS with the weights of two files.

    Args:
        variant: "vgg" or "alex".
        network_weights: torchvision's state dict of the network; empty takes it from torch's cache.
        head_weights: ``vgg.pth`` or ``alex.pth`` of the authors (``lin0.model.1.weight`` … ``lin4.model.1.weight``);
            empty takes it from the package torchmetrics.

    Raises:
        UserError: unknown variant.
        DataError: a file is missing or of another kind; the message names where to get it. Never randomly initialized.
    """
    if variant not in VARIANTS:
        raise UserError(f"LPIPS variant {variant!r}; valid: {', '.join(VARIANTS)}")
    published = VGG16 if variant == "vgg" else ALEXNET
    heads = _read_heads(Path(head_weights) if str(head_weights) else _packaged_heads(variant), variant)
    features = Vgg16Features() if variant == "vgg" else AlexNetFeatures()
    load_weights(features, published.find(network_weights), published.wanted)
    return Lpips(features, heads, variant)


def _packaged_heads(variant: str) -> Path:
    package = importlib.util.find_spec("torchmetrics")
    folder = Path(package.origin).parent if package and package.origin else Path("torchmetrics")
    return folder / "functional" / "image" / "lpips_models" / f"{variant}.pth"


def _read_heads(path: Path, variant: str) -> list[Tensor]:
    channels = (64, 128, 256, 512, 512) if variant == "vgg" else (64, 192, 384, 256, 256)
    wanted = f"LPIPS weights 0.1 ({variant}.pth with lin0.model.1.weight …), which the package torchmetrics contains"
    state = read_weights(path, wanted)
    heads = []
    for layer, count in enumerate(channels):
        key = f"lin{layer}.model.1.weight"
        head = state.get(key)
        if head is None or head.shape != (1, count, 1, 1) or not torch.isfinite(head).all():
            found = "missing" if head is None else f"{tuple(head.shape)}, not finite numbers (1, {count}, 1, 1)"
            raise DataError(found, file=path, key=key, wanted=wanted)
        heads.append(head)
    return heads


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)
