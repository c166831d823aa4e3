from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.sparse import build_backbone, load_backbone
from cosmos_lidar.models.sparse.export import openpcdet_state, segmentation_state, write_backbone
from tests.models.sparse.published import VECTORS

SHAPES = json.loads(bytes(VECTORS["I_state_dict_shapes_json"]))


def loaded_by_openpcdet(stored: dict[str, Tensor], own: dict[str, tuple[int, ...]]) -> set[str]:
    """Return the keys that OpenPCDet's detectors take: of the same name and shape, 5-D ones also permuted."""
    taken = set()
    for key, value in stored.items():
        if key not in own:
            continue
        candidates = [value] if value.ndim != 5 else [value, value.transpose(-1, -2), value.permute(4, 0, 1, 2, 3)]
        if any(tuple(one.shape) == own[key] for one in candidates):
            taken.add(key)
    return taken


def detector() -> dict[str, tuple[int, ...]]:
    """Return names and shapes of OpenPCDet's SECOND, with parts that no backbone has."""
    published = next(shapes for name, shapes in SHAPES.items() if name.startswith("SECOND"))
    own = {n.removeprefix("model."): tuple(s) for n, s in published.items() if not n.startswith("classifier.")}
    return {
        "global_step": (1,),
        **own,
        "dense_head.conv_cls.weight": (18, 512, 1, 1),
        "dense_head.conv_cls.bias": (18,),
    }


def test_openpcdet_takes_every_tensor_and_nothing_is_unused(tmp_path: Path) -> None:
    network, own = build_backbone("second", 4, 128), detector()
    write_backbone(network, tmp_path / "second.pth", "openpcdet")
    stored = torch.load(tmp_path / "second.pth", weights_only=True)["model_state"]
    taken = loaded_by_openpcdet(stored, own)
    assert taken == stored.keys()
    assert len(taken) == 156
    assert own.keys() - taken == {"global_step", "dense_head.conv_cls.weight", "dense_head.conv_cls.bias"}
    assert torch.equal(
        stored["backbone_3d.conv_out.0.weight"], network.state_dict()["model.backbone_3d.conv_out.0.weight"]
    )


def test_the_published_form_itself_is_not_taken() -> None:
    """Why the wrapper is needed: with the prefix that published files have, OpenPCDet trains from scratch."""
    assert not loaded_by_openpcdet(segmentation_state(build_backbone("second", 4, 128)), detector())


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_flat_weights_come_back(ending: str, tmp_path: Path) -> None:
    network, path = build_backbone("minkunet18", 1, 5), tmp_path / "sub" / f"a.{ending}"
    write_backbone(network, path, "segmentation")
    found = load_backbone(path)
    assert found.out_channels == 96
    assert torch.equal(found.up4[1][1].net[3].kernel, network.up4[1][1].net[3].kernel)
    write_backbone(network, path, "segmentation", classifier=True)
    assert torch.equal(load_backbone(path).classifier[0].weight, network.classifier[0].weight)


def test_impossible_targets(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="OpenPCDet has no minkunet18"):
        openpcdet_state(build_backbone("minkunet18", 1, 5))
    with pytest.raises(UserError, match="expected NAME.pth"):
        write_backbone(build_backbone("second", 4, 5), tmp_path / "a.safetensors", "openpcdet")
