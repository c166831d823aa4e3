"""Names of published weights of sparse backbones: those of torchsparse, spconv and MinkowskiEngine in one form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.sparse.minkunet import MinkUNet

_WRAPPERS = ("module", "_orig_mod", "net", "backbone", "model", "encoder", "network")
_HEADS = ("classifier", "final")
_SECOND = ("backbone_3d", "backbone_2d")
_LARGEST_KERNEL = 3  # along an axis; spconv 2 has at least 16 output channels in its place


@dataclass(frozen=True)
class PublishedState:
    """Weights of one backbone.

    Attributes:
        tensors: by the names of our networks.
        unused: names of the file that no backbone has, such as those of a decoder.
    """

    tensors: dict[str, Tensor]
    unused: list[str]


def published_state(state: Mapping[str, Tensor], file: Path) -> PublishedState:
    """Return the weights of a backbone by the names of our networks, whatever stands before them in the file.

    - ``module.``, ``net.``, ``backbone.``, ``model.``, ``encoder.`` in any nesting are taken off.
    - MinkowskiEngine: ``….bn.weight`` becomes ``….weight``, the head ``final``, which may be a 1x1x1 convolution,
      becomes ``classifier.0``.
    - spconv 1 weights (kz, ky, kx, Cin, Cout) are permuted to those of spconv 2, (Cout, kz, ky, kx, Cin).

    Args:
        state: tensors of the file by name.
        file: for messages.

    Raises:
        DataError: two tensors have one name.
    """
    places = {name: _place(name) for name in state}
    second = any(place[0] in _SECOND for place in places.values() if place)
    tensors: dict[str, Tensor] = {}
    unused = []
    for name, value in state.items():
        place = places[name]
        if place is None or (second and place[0] not in (*_SECOND, "classifier")):
            unused.append(name)
            continue
        short = _second_name(place) if second else _unet_name(place)
        if short in tensors:
            raise DataError(f"two tensors are {short}", file=file, key=name, wanted="the weights of one network")
        tensors[short] = _in_our_layout(short, name, value)
    return PublishedState(tensors, unused)


def _place(name: str) -> list[str] | None:
    """Return the parts of a name without those of wrappers; None where the rest is no part of a backbone."""
    parts = name.split(".")
    while parts and parts[0] in _WRAPPERS:
        parts.pop(0)
    known = (*MinkUNet.blocks, *_HEADS, *_SECOND, "point_transforms")
    return parts if parts and parts[0] in known else None


def _unet_name(place: list[str]) -> str:
    parts = [part for part in place if part != "bn"]
    if parts[0] == "final":
        parts[0:1] = ["classifier", "0"]
    if parts[0] == "classifier" and parts[-1] == "kernel":
        parts[-1] = "weight"
    return ".".join(parts)


def _second_name(place: list[str]) -> str:
    return ".".join(place if place[0] == "classifier" else ["model", *place])


def _in_our_layout(short: str, name: str, value: Tensor) -> Tensor:
    if short.startswith("model.backbone_3d.") and value.ndim == 5 and value.shape[0] <= _LARGEST_KERNEL:
        return value.permute(4, 0, 1, 2, 3)
    if short == "classifier.0.weight" and name.endswith(".kernel"):
        return value.t()
    return value.flatten() if short == "classifier.0.bias" else value
