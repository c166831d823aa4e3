from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cosmos_lidar.cli import main
from cosmos_lidar.models.diffusers import to_diffusers
from cosmos_lidar.models.tokenizer import export_jit, load_tokenizer
from cosmos_lidar.models.wan_vae import build_vae, load_vae
from tests.models.tokenizer.reference import small_tokenizer


def test_there_and_back_again(tmp_path: Path, capsys: pytest.CaptureFixture):
    network = small_tokenizer(resolution=512)
    encoder, decoder, _ = export_jit(network, tmp_path, "x")
    assert main(["convert", str(encoder), str(decoder), "--out", str(tmp_path / "new" / "a.safetensors")]) == 0
    count = sum(parameter.numel() for parameter in network.parameters())
    assert f"CI, compression 8, patches of 4, {count:,} parameters" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "new" / "a.safetensors"), "--out", str(tmp_path / "folder")]) == 0
    names = sorted(file.name for file in (tmp_path / "folder").iterdir())
    assert names == ["autoencoder.jit", "decoder.jit", "encoder.jit"]
    loaded = load_tokenizer(tmp_path / "folder").state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "b", "c", "--out", "x.safetensors"], "3 sources: give a folder, a file, or an encoder and a decoder"),
        (["absent.pt", "--out", "x.safetensors"], "no such file [file absent.pt]"),
    ],
)
def test_wrong_sources_are_explained(arguments: list[str], message: str, capsys: pytest.CaptureFixture):
    assert main(["convert", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_an_unknown_kind_of_output_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture):
    encoder, *_ = export_jit(small_tokenizer(), tmp_path, "x")
    assert main(["convert", str(encoder), "--out", str(tmp_path / "model.onnx")]) == 2
    assert "model.onnx: give NAME.safetensors, or a folder" in capsys.readouterr().err
    assert not (tmp_path / "model.onnx").exists()


def test_other_networks_of_diffusers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vae = build_vae("wan2_1", dim=4)
    to_diffusers(vae, tmp_path / "diffusers")
    assert main(["convert", str(tmp_path / "diffusers"), "--out", str(tmp_path / "vae.safetensors")]) == 0
    assert "WanVAE, " in capsys.readouterr().out
    assert torch.equal(load_vae(tmp_path / "vae.safetensors").conv1.weight, vae.conv1.weight)
    assert main(["convert", str(tmp_path / "diffusers"), "--out", str(tmp_path / "folder")]) == 2
    assert "expected NAME.safetensors" in capsys.readouterr().err
