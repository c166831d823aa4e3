from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.tokenizer import VIDEO_CONFIGS, export_safetensors, load_tokenizer
from tests.models.tokenizer.reference import image, small_tokenizer, small_video_tokenizer, wave_video


@pytest.mark.parametrize("name", VIDEO_CONFIGS)
def test_the_shape_is_found_from_the_tensors(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(logging.getLogger("cosmos_lidar"), "propagate", True)
    network = small_video_tokenizer(name, num_res_blocks=2)
    loaded = load_tokenizer(export_safetensors(network, tmp_path / "x.safetensors"))
    assert loaded.config == network.config
    assert torch.equal(loaded(wave_video(9, 16, 16)).reconstructions, network(wave_video(9, 16, 16)).reconstructions)
    assert "older layout" not in caplog.text


@pytest.mark.parametrize("name", ["CV4x8x8", "CV8x8x8"])
def test_the_older_layout_with_unused_convolutions(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    network = small_video_tokenizer(name)
    state, last = network.state_dict(), len(network.config.channels_mult) - 1
    across, along, point = (1, 3, 3), (3, 1, 1), (1, 1, 1)
    gaps = {f"encoder.down.{i}.downsample": (across, along, point) for i in range(last)}
    gaps |= {f"decoder.up.{i + 1}.upsample": (along, across, point) for i in range(last)}
    for gap, kernels in gaps.items():
        for i, kernel in enumerate(kernels, start=1):
            state.setdefault(f"{gap}.conv{i}.conv3d.weight", torch.ones(16, 16, *kernel))
            state.setdefault(f"{gap}.conv{i}.conv3d.bias", torch.ones(16))
    torch.save(state, tmp_path / "older.pt")
    monkeypatch.setattr(logging.getLogger("cosmos_lidar"), "propagate", True)
    loaded = load_tokenizer(tmp_path / "older.pt")
    assert loaded.config == network.config
    assert torch.equal(loaded.encode(wave_video(9, 16, 16)), network.encode(wave_video(9, 16, 16)))
    assert f"older layout, which does not tell its compression: taken as {name[2:]}" in caplog.text


def test_unknown_convolutions_of_the_newer_layout_are_named(tmp_path: Path):
    state = small_video_tokenizer("CV8x8x8").state_dict()
    state["decoder.up.2.upsample.conv3.conv3d.weight"] = torch.ones(16, 16, 1, 1, 1)
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(DataError, match=r"1 unexpected: decoder\.up\.2\.upsample\.conv3.*odd\.pt"):
        load_tokenizer(tmp_path / "odd.pt")


SHAPES = [
    {"resolution": 512},
    {"resolution": 256},
    {"resolution": 128},
    {"resolution": 64},
    {"attn_resolutions": (64, 128), "resolution": 512},
    {"patch_size": 2, "spatial_compression": 16, "resolution": 256},
    {"channels_mult": (1, 2), "num_res_blocks": 2},
    {"channels": 64, "channels_mult": (1, 2, 1, 1), "z_channels": 8, "latent_channels": 4},
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_shape_of_images_is_found_from_the_tensors(shape: dict[str, object], tmp_path: Path):
    network = small_tokenizer(**shape)
    loaded = load_tokenizer(export_safetensors(network, tmp_path / "x.safetensors"))
    assert loaded.state_dict().keys() == network.state_dict().keys()
    assert torch.equal(loaded(image(16, 32)).reconstructions, network(image(16, 32)).reconstructions)


def test_the_levels_of_the_quantizer_are_found(tmp_path: Path):
    network = small_tokenizer("DI8x8", levels=(4, 4, 3), latent_channels=3)
    loaded = load_tokenizer(export_safetensors(network, tmp_path / "x.safetensors"))
    assert loaded.config.levels == (4, 4, 3)
    assert torch.equal(loaded.encode(image())[0], network.encode(image())[0])
