from __future__ import annotations

import os
from pathlib import Path, PosixPath

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.sparse import build_backbone, load_backbone
from cosmos_lidar.models.sparse.backbone import Backbone


class Options(dict):
    """A dictionary of a class that no reader knows."""


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


@pytest.fixture(scope="module")
def mink() -> Backbone:
    torch.manual_seed(0)
    return build_backbone("minkunet18", in_channels=1, out_channels=7)


@pytest.fixture(scope="module")
def second() -> Backbone:
    torch.manual_seed(0)
    return build_backbone("second", in_channels=4, out_channels=7)


def without_head(network: Backbone) -> dict[str, Tensor]:
    return {name: value for name, value in network.state_dict().items() if not name.startswith("classifier.")}


def expect_same(found: Backbone, network: Backbone, head: bool) -> None:
    wanted = network.state_dict() if head else without_head(network)
    state = found.state_dict()
    assert state.keys() == wanted.keys()
    for name, value in wanted.items():
        assert torch.equal(state[name], value), name
    assert found.name == network.name
    assert not found.training


@pytest.mark.parametrize("name", ["minkunet34", "minkunet18", "minkunet18sc", "spvcnn", "second"])
def test_published_flat_files_name_their_network(name: str, tmp_path: Path) -> None:
    network = build_backbone(name, 4, 2)
    torch.save(without_head(network), tmp_path / "pretrained_backbone.ckpt")
    found = load_backbone(tmp_path / "pretrained_backbone.ckpt", name=name, in_channels=4)
    expect_same(found, network, head=False)
    assert found.out_channels == (512 if name == "second" else 96)


def test_training_checkpoint_with_a_decoder(mink: Backbone, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    state = {f"backbone.{name}": value for name, value in mink.state_dict().items()}
    torch.save({"state_dict": {**state, "decoder.fc_in.bias": torch.ones(3)}, "epoch": 3}, tmp_path / "a.ckpt")
    expect_same(load_backbone(tmp_path / "a.ckpt"), mink, head=True)
    assert "1 tensors of other parts are not used: decoder.fc_in.bias" in caplog.text


def test_a_pickled_configuration_is_skipped_and_nothing_runs(mink: Backbone, tmp_path: Path) -> None:
    """Files of BEVContrast hold a dictionary of a class of its own, with paths in it."""
    config = Options(root=PosixPath("/data"), nested=Options(a=[1, 2]), bad=Hostile(tmp_path / "touched"))
    state = {f"encoder.{name}": value for name, value in mink.state_dict().items()}
    torch.save({"state_dict": state, "optimizer": {"state": {}}, "iters": 3, "config": config}, tmp_path / "a.pt")
    expect_same(load_backbone(tmp_path / "a.pt"), mink, head=True)
    assert not (tmp_path / "touched").exists()


def test_names_of_minkowski_engine(mink: Backbone, tmp_path: Path) -> None:
    state = {}
    for name, value in mink.state_dict().items():
        stem, _, last = name.rpartition(".")
        if last == "kernel" or stem.startswith("classifier"):
            state[f"encoder.{name}".replace("classifier.0", "final")] = value
        else:
            state[f"encoder.{stem}.bn.{last}"] = value
    torch.save({"state_dict": state}, tmp_path / "a.pt")
    expect_same(load_backbone(tmp_path / "a.pt"), mink, head=True)


@pytest.mark.parametrize("spconv", [1, 2])
def test_openpcdet_checkpoints_of_both_layouts(spconv: int, second: Backbone, tmp_path: Path) -> None:
    state = {name.removeprefix("model."): value for name, value in without_head(second).items()}
    if spconv == 1:
        state = {name: v.permute(1, 2, 3, 4, 0) if v.ndim == 5 else v for name, v in state.items()}
    state |= {"global_step": torch.zeros(1), "dense_head.conv_cls.weight": torch.ones(3)}
    torch.save(
        {"epoch": 80, "model_state": state, "optimizer_state": None, "version": "pcdet+0.6.0"}, tmp_path / "a.pth"
    )
    expect_same(load_backbone(tmp_path / "a.pth"), second, head=False)


def test_safetensors_and_another_head(mink: Backbone, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_file(without_head(mink), tmp_path / "a.safetensors")
    found = load_backbone(tmp_path / "a.safetensors", out_channels=17)
    assert found.out_channels == 17
    assert torch.equal(found.stem[0].kernel, mink.stem[0].kernel)
    assert "no classifier of 17 outputs" in caplog.text
    torch.save(mink.state_dict(), tmp_path / "a.pt")
    expect_same(load_backbone(tmp_path / "a.pt", out_channels=0), mink, head=False)


def test_the_width_is_that_of_the_weights(tmp_path: Path) -> None:
    network = build_backbone("spvcnn", 1, 0, width=3)
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    expect_same(load_backbone(tmp_path / "a.safetensors"), network, head=True)
    torch.save({"stem.0.kernel": torch.zeros(1, 1, 129)}, tmp_path / "a.pt")
    with pytest.raises(DataError, match="129 channels in the first layer"):
        load_backbone(tmp_path / "a.pt")


def test_another_backbone_or_number_of_channels(mink: Backbone, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(mink.state_dict(), path)
    with pytest.raises(DataError, match=r"weights of minkunet18 with 1 input channels.*a.pt.*backbone minkunet34"):
        load_backbone(path, name="minkunet34")
    with pytest.raises(DataError, match="in_channels 4"):
        load_backbone(path, in_channels=4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"up4.0.net.0.kernel": None}, r"1 tensors are missing: up4.0.net.0.kernel"),
        ({"stage1.9.net.0.kernel": torch.ones(27, 32, 32)}, r"1 tensors are too many: stage1.9"),
        ({"stem.1.weight": torch.ones(31)}, r"shape \(31,\).*stem.1.weight.*\(32,\)"),
        ({"stem.1.weight": torch.full((32,), float("nan"))}, "not finite"),
        ({"stem.0.kernel": torch.ones(2)}, "neither stem.0.kernel"),
    ],
)
def test_damaged_weights_are_named(change: dict, message: str, mink: Backbone, tmp_path: Path) -> None:
    state = {name: value for name, value in {**mink.state_dict(), **change}.items() if value is not None}
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(DataError, match=message):
        load_backbone(tmp_path / "a.pt")


def test_a_damaged_file_is_refused(mink: Backbone, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save(mink.state_dict(), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # a weight that stays finite
    path.write_bytes(content)
    with pytest.raises(DataError, match="a damaged file"):
        load_backbone(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "text.pt").write_text("no weights")
    for name, message in {"list.pt": "holds a list", "text.pt": "text.pt", "none.pt": "no such file"}.items():
        with pytest.raises(DataError, match=message):
            load_backbone(tmp_path / name)
