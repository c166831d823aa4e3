from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cosmos_lidar.cli import main
from cosmos_lidar.models.sparse import build_backbone, load_backbone


def test_second_for_openpcdet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = build_backbone("second", 4, 128)
    published = {name: value for name, value in network.state_dict().items() if not name.startswith("classifier.")}
    torch.save({**published, "model.global_step": torch.zeros(1)}, tmp_path / "published.ckpt")
    assert main(["convert-backbone", str(tmp_path / "published.ckpt"), "--out", str(tmp_path / "second.pth")]) == 0
    assert "second, 4 input channels, 5,288,640 parameters, for openpcdet" in capsys.readouterr().out
    stored = torch.load(tmp_path / "second.pth", weights_only=True)["model_state"]
    assert {f"model.{name}" for name in stored} == published.keys()


def test_a_training_checkpoint_for_segmentation(tmp_path: Path) -> None:
    network = build_backbone("minkunet18sc", 4, 20)
    torch.save({"state_dict": {f"net.{n}": v for n, v in network.state_dict().items()}}, tmp_path / "a.ckpt")
    out = tmp_path / "b.safetensors"
    assert main(["convert-backbone", str(tmp_path / "a.ckpt"), "--out", str(out), "--classifier"]) == 0
    found = load_backbone(out, name="minkunet18sc", in_channels=4)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in found.state_dict().items())
    assert found.out_channels == 20


def test_what_is_no_backbone_ends_with_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a": torch.ones(1)}, tmp_path / "a.pt")
    assert main(["convert-backbone", str(tmp_path / "a.pt"), "--out", str(tmp_path / "b.pth")]) == 2
    assert "neither stem.0.kernel" in capsys.readouterr().err
    assert not (tmp_path / "b.pth").exists()


def test_the_embedded_backbone_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("small", "cosmos_lidar/small-backbone"):
        out = tmp_path / "small.safetensors"
        assert main(["convert-backbone", name, "--out", str(out)]) == 0
        assert "minkunet18, 4 input channels" in capsys.readouterr().out
        assert load_backbone(out, name="minkunet18", in_channels=4).in_channels == 4
    with pytest.raises(SystemExit) as ended:
        main(["convert-backbone", "small-backbone", "--out", str(tmp_path / "b.pth")])
    assert ended.value.code == 2
    assert "no such file 'small-backbone'; did you mean cosmos_lidar/small-backbone" in capsys.readouterr().err
