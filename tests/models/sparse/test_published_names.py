from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.sparse.published_names import published_state

FILE = Path("a.pt")


@pytest.mark.parametrize("prefix", ["", "module.", "net.", "backbone.", "encoder.", "module._orig_mod.net."])
def test_wrappers_are_taken_off_and_names_inside_stay(prefix: str) -> None:
    state = {f"{prefix}stage1.0.net.0.kernel": torch.ones(8, 2, 2), "decoder.fc_in.weight": torch.ones(1)}
    found = published_state(state, FILE)
    assert list(found.tensors) == ["stage1.0.net.0.kernel"]
    assert found.unused == ["decoder.fc_in.weight"]


@pytest.mark.parametrize("prefix", ["", "model.", "backbone.model.", "module."])
def test_both_layouts_of_spconv(prefix: str) -> None:
    weight = torch.randn(16, 3, 2, 1, 4)  # (Cout, kz, ky, kx, Cin)
    name = f"{prefix}backbone_3d.conv_input.0.weight"
    for stored in (weight, weight.permute(1, 2, 3, 4, 0)):
        found = published_state({name: stored, "final.weight": torch.ones(1), "dense_head.x": torch.ones(1)}, FILE)
        assert torch.equal(found.tensors["model.backbone_3d.conv_input.0.weight"], weight)
        assert found.unused == ["final.weight", "dense_head.x"]


def test_names_of_minkowski_engine() -> None:
    state = {
        "encoder.stem.1.bn.weight": torch.ones(32),
        "encoder.final.kernel": torch.arange(6.0).view(3, 2),
        "encoder.final.bias": torch.ones(1, 2),
    }
    found = published_state(state, FILE).tensors
    assert list(found) == ["stem.1.weight", "classifier.0.weight", "classifier.0.bias"]
    assert torch.equal(found["classifier.0.weight"], torch.arange(6.0).view(3, 2).t())
    assert found["classifier.0.bias"].shape == (2,)


def test_two_networks_in_a_file_are_refused() -> None:
    state = {"net.stem.0.kernel": torch.ones(1), "backbone.stem.0.kernel": torch.ones(1)}
    with pytest.raises(DataError, match=r"two tensors are stem.0.kernel.*a.pt"):
        published_state(state, FILE)
