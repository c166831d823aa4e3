"""Sparse backbones from files: published ALSO and BEVContrast weights, OpenPCDet checkpoints, and our own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.log import logger
from cosmos_lidar.models.sparse.backbone import Backbone
from cosmos_lidar.models.sparse.build import MOST_WIDTH, build_backbone
from cosmos_lidar.models.sparse.kernel_map import Triple
from cosmos_lidar.models.sparse.minkunet import STEM
from cosmos_lidar.models.sparse.published_names import published_state
from cosmos_lidar.models.sparse.second import KITTI_GRID
from cosmos_lidar.models.weight_kinds import BACKBONE, other_kind
from cosmos_lidar.models.wrapped_weights import read_named_weights

WANTED = "weights of MinkUNet34, MinkUNet18, MinkUNet18SC, SPVCNN or SECOND"
_COUNTER = "num_batches_tracked"


def load_backbone(
    path: str | Path,
    name: str | None = None,
    in_channels: int | None = None,
    out_channels: int | None = None,
    grid: Triple = KITTI_GRID,
) -> Backbone:
    """Return a sparse backbone with the weights of a file, in eval mode; name and sizes are those of the weights.

    Read are ``pretrained_backbone_also_*.ckpt`` and the training checkpoints that they come from, BEVContrast's files
    (torchsparse, spconv, MinkowskiEngine), OpenPCDet checkpoints of SECOND and PV-RCNN in either layout of spconv, and
    ``.safetensors`` and checkpoints of this project. Objects beside the tensors are left out; nothing of a file is run.

    Args:
        path: of the file.
        name: expected backbone, see :func:`build_backbone`.
        in_channels: expected features of a voxel.
        out_channels: features per voxel that come out; default: those of the file's classifier, or of the layer before
            it where the file has none. A classifier that the file lacks has random weights.
        grid: of ``second``: voxels along x, y, z.

    Raises:
        DataError: not such a file, another backbone or number of channels than expected, missing, additional, wrongly
            shaped or non-finite tensors.
        UserError: impossible sizes.
    """
    file = Path(path)
    state = read_state(file)
    found, channels = _kind(state, file)
    for what, wanted, given in (("backbone", name, found), ("in_channels", in_channels, channels)):
        if wanted is not None and wanted != given:
            raise DataError(f"weights of {found} with {channels} input channels", file=file, wanted=f"{what} {wanted}")
    head = _head_channels(state)
    outputs = head if out_channels is None else out_channels
    network = build_backbone(found, channels, outputs, grid, _width(state, file))
    if outputs != head:
        state = {key: value for key, value in state.items() if not key.startswith("classifier.")}
    _fill(network, state, file)
    return network.eval()


def read_state(file: Path) -> dict[str, Tensor]:
    """Return the weights of a backbone in a file by the names of our networks; other tensors are named in the log.

    Raises:
        DataError: not a file of weights, a damaged one, or two networks in it.
    """
    named = read_named_weights(file, WANTED)
    if other := other_kind(named, BACKBONE):
        raise DataError(other, file=file, wanted=WANTED)
    state = published_state(named, file)
    if state.unused:
        logger.info("%s: %d tensors of other parts are not used: %s", file, len(state.unused), _some(state.unused))
    return state.tensors


def _head_channels(state: Mapping[str, Tensor]) -> int:
    """Return the outputs of the last linear layer; 0 where there is none."""
    for name in ("classifier.0.weight", "classifier.weight"):
        if name in state:
            return len(state[name])
    return 0


def _width(state: Mapping[str, Tensor], file: Path) -> int:
    """Return the channels of the first layer."""
    stem = state.get("stem.0.kernel")
    width = STEM if stem is None else stem.shape[-1]
    if not 1 <= width <= MOST_WIDTH:
        raise DataError(f"{width} channels in the first layer", file=file, key="stem.0.kernel", wanted=WANTED)
    return width


def _kind(state: Mapping[str, Tensor], file: Path) -> tuple[str, int]:
    """Return name and input channels of the backbone that has these weights."""
    second = state.get("model.backbone_3d.conv_input.0.weight")
    if second is not None and second.ndim == 5:
        return "second", second.shape[-1]
    stem = state.get("stem.0.kernel")
    if stem is None or stem.ndim != 3:
        raise DataError("neither stem.0.kernel nor backbone_3d.conv_input.0.weight in it", file=file, wanted=WANTED)
    if any(name.startswith("point_transforms.") for name in state):
        return "spvcnn", stem.shape[1]
    if "stage4.6.net.0.kernel" in state:
        return "minkunet34", stem.shape[1]
    return "minkunet18sc" if "stem.3.kernel" in state else "minkunet18", stem.shape[1]


def _fill(network: Backbone, state: dict[str, Tensor], file: Path) -> None:
    own = network.state_dict()
    missing = [key for key in own if key not in state and not key.endswith(_COUNTER)]
    head = [key for key in missing if key.startswith("classifier.")]
    if len(head) < len(missing):
        others = [key for key in missing if key not in head]
        raise DataError(f"{len(others)} tensors are missing: {_some(others)}", file=file, wanted=f"a {network.name}")
    if head:
        logger.warning("%s: no classifier of %d outputs in it: random weights", file, network.out_channels)
    more = [key for key in state if key not in own]
    if more:
        raise DataError(f"{len(more)} tensors are too many: {_some(more)}", file=file, wanted=f"a {network.name}")
    for key, value in state.items():
        if value.shape != own[key].shape:
            shapes = f"shape {tuple(value.shape)}"
            raise DataError(shapes, file=file, key=key, wanted=f"{tuple(own[key].shape)} of {network.name}")
        if not bool(torch.isfinite(value).all()):
            raise DataError("weights that are not finite", file=file, key=key, wanted=f"a {network.name}")
    network.load_state_dict(state, strict=False)


def _some(names: list[str]) -> str:
    return ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
