"""Exports of the backbone: the published names, read by the loader and by convert-backbone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cosmos_lidar.cli import main
from cosmos_lidar.errors import DataError
from cosmos_lidar.families.also.export import export_weights
from cosmos_lidar.families.also.job import make_network
from cosmos_lidar.models.sparse import load_backbone
from cosmos_lidar.recipes import also_pretrain
from cosmos_lidar.training.overrides import apply_overrides
from tests.families.also.clouds import GRID, MINK
from tests.families.also.test_network import network_of


def test_weights_and_their_average_are_two_files(tmp_path: Path) -> None:
    network = network_of(MINK)
    weights = network.state_dict()
    average = {name: value + 1 for name, value in network.named_parameters()}
    plain, averaged = export_weights(weights, average, tmp_path, 30)
    assert [plain.name, averaged.name] == [
        "iter_000000030_backbone.safetensors",
        "iter_000000030_ema_backbone.safetensors",
    ]
    for path, shift in ((plain, 0), (averaged, 1)):
        found = load_backbone(path, "minkunet18", in_channels=1)
        assert not [name for name in found.state_dict() if name.startswith("classifier")]
        assert torch.equal(found.stem[0].kernel, network.backbone.stem[0].kernel + shift)
        assert torch.equal(found.stem[1].running_var, network.backbone.stem[1].running_var)
    assert export_weights(weights, {}, tmp_path / "plain", 1)[1:] == []


def test_second_is_converted_for_openpcdet(tmp_path: Path) -> None:
    network = network_of(GRID)
    (path,) = export_weights(network.state_dict(), {}, tmp_path, 1)
    assert main(["convert-backbone", str(path), "--out", str(tmp_path / "second.pth")]) == 0
    state = torch.load(tmp_path / "second.pth", weights_only=True)["model_state"]
    assert torch.equal(state["backbone_3d.conv_out.0.weight"], network.backbone.model.backbone_3d.conv_out[0].weight)


def test_training_starts_from_an_export_of_the_same_backbone(tmp_path: Path) -> None:
    (path,) = export_weights(network_of(MINK).state_dict(), {}, tmp_path, 1)
    options = ["model.width=2", "model.inputs=[intensities]", f"model.checkpoint={path}"]
    found = make_network(apply_overrides(also_pretrain.debug(), options))
    assert torch.equal(found.backbone.stem[0].kernel, load_backbone(path).stem[0].kernel)
    assert found.backbone.training
    for other, wanted in (("model.backbone=SPVCNN", "backbone spvcnn"), ("model.inputs=[pos]", "in_channels 3")):
        with pytest.raises(DataError, match=f"weights of minkunet18 with 1 input channels .*Expected: {wanted}"):
            make_network(apply_overrides(also_pretrain.debug(), [*options, other]))
    (tmp_path / "hostile.ckpt").write_bytes(b"cos\nsystem\n(S'touch x'\ntR.")
    with pytest.raises(DataError, match="hostile.ckpt"):
        make_network(apply_overrides(also_pretrain.debug(), [f"model.checkpoint={tmp_path / 'hostile.ckpt'}"]))
