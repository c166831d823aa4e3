"""Weights of sparse backbones for other programs: flat files of segmentation, ``model_state`` of OpenPCDet."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from cosmos_lidar.errors import UserError
from cosmos_lidar.files import atomic_write
from cosmos_lidar.models.sparse.backbone import Backbone

Target = Literal["segmentation", "openpcdet"]


def segmentation_state(network: Backbone, classifier: bool = False) -> dict[str, Tensor]:
    """Return weights as the published segmentation files have them: flat, by their names.

    Args:
        network: any backbone.
        classifier: with its last linear layer.
    """
    state = network.state_dict()
    return {name: value.contiguous() for name, value in state.items() if classifier or _is_body(name)}


def openpcdet_state(network: Backbone) -> dict[str, dict[str, Tensor]]:
    """Return what OpenPCDet's SECOND and PV-RCNN load by ``--pretrained_model``: ``model_state`` with their names.

    Raises:
        UserError: another backbone than ``second``.
    """
    if network.name != "second":
        raise UserError(f"OpenPCDet has no {network.name}: expected a second backbone")
    state = network.state_dict()
    return {"model_state": {n.removeprefix("model."): v.contiguous() for n, v in state.items() if _is_body(n)}}


def write_backbone(network: Backbone, path: Path, target: Target, classifier: bool = False) -> None:
    """Write the weights of a backbone.

    Args:
        network: to write.
        path: of the file; ``.safetensors`` for flat ones, anything else is a file of ``torch.save``.
        target: which program it is for.
        classifier: with the last linear layer; of ``segmentation``.

    Raises:
        UserError: the target does not take this backbone or file.
    """
    if target == "openpcdet" and path.suffix == ".safetensors":
        raise UserError(f"{path}: OpenPCDet reads files of torch.save, expected NAME.pth")
    content = openpcdet_state(network) if target == "openpcdet" else segmentation_state(network, classifier)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as partial:
        if path.suffix == ".safetensors":
            from safetensors.torch import save_file  # networks import without it

            save_file(content, partial)  # type: ignore[arg-type]
        else:
            torch.save(content, partial)


def _is_body(name: str) -> bool:
    return not name.startswith("classifier.")
