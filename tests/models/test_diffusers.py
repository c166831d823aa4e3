"""Networks against Diffusers' own classes: same weights, same output, both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.models.diffusers import CLASSES, from_diffusers, to_diffusers
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.dit.predict2 import SHAPES, Predict2DiT
from cosmos_lidar.models.dit.weights import load_dit_weights
from cosmos_lidar.models.sparse import build_backbone
from cosmos_lidar.models.tokenizer import build_tokenizer
from cosmos_lidar.models.wan_vae import WanVAE, build_vae, load_vae

diffusers = pytest.importorskip("diffusers")

TINY: dict[str, Any] = {
    "model_channels": 72, "num_heads": 3, "num_blocks": 2, "adaln_lora_dim": 8, "crossattn_emb_channels": 20,
    "in_channels": 4, "out_channels": 4,
}  # fmt: skip


def randomize(network: nn.Module) -> nn.Module:
    """Give every weight a value of its own: layers that start at zero would hide a wrong name."""
    torch.manual_seed(1)
    for parameter in network.parameters():
        scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.2
        parameter.data = torch.randn_like(parameter) * scale + (parameter.ndim == 1) * 0.6
    return network.eval().requires_grad_(False)


def tokenizer(name: str, **overrides: Any) -> nn.Module:
    return randomize(build_tokenizer(name, channels=8, num_res_blocks=1, **overrides))


def transformer(name: str = "predict2_2b_video2world", **overrides: Any) -> Predict2DiT:
    network = randomize(build_dit(name, **TINY | overrides))
    assert isinstance(network, Predict2DiT)
    return network


def theirs(folder: Path) -> Any:
    """Return what Diffusers itself makes of a folder, every tensor of which it must find and use."""
    name = json.loads((folder / "config.json").read_text())["_class_name"]
    network, report = getattr(diffusers, name).from_pretrained(folder, output_loading_info=True)
    assert not any(report.values())
    return network.eval()


def closeness(ours: Tensor, other: Tensor) -> float:
    assert ours.shape == other.shape
    assert ours.abs().max() > 0.05, "nothing to compare"
    return float((ours - other).abs().max())


@pytest.mark.parametrize("name", ["CV8x8x8", "CV4x8x8", "CV8x16x16", "CV4x8x8_LowRes"])
@torch.no_grad()
def test_tokenizers(name: str, tmp_path: Path):
    network = tokenizer(name)
    to_diffusers(network, tmp_path / "ours")
    other = theirs(tmp_path / "ours")
    assert type(other).__name__ == CLASSES[0]
    clip = torch.rand(1, 3, 17, 32, 48) * 2 - 1
    latents = network.encode(clip)
    assert closeness(latents, other.encode(clip).latent_dist.mode()) < 1e-4
    assert closeness(network.decode(latents), other.decode(latents).sample) < 1e-4
    other.save_pretrained(tmp_path / "theirs")
    back = from_diffusers(tmp_path / "theirs")
    assert back.config == network.config
    assert torch.equal(back.encode(clip), latents)
    assert_same_weights(back, network)


@torch.no_grad()
def test_wan_vae(tmp_path: Path):
    statistics = {"latent_mean": (0.5, -1.0, 0.25, 0.0), "latent_std": (2.0, 1.0, 0.5, 3.0)}
    vae = randomize(build_vae("wan2_1", dim=8, num_res_blocks=1, **statistics))
    assert isinstance(vae, WanVAE)
    to_diffusers(vae, tmp_path / "ours")
    other = theirs(tmp_path / "ours")
    video = torch.rand(1, 3, 9, 16, 24) * 2 - 1
    latents = vae.encode(video)
    mean, std = (torch.tensor(statistics[key]).view(1, 4, 1, 1, 1) for key in ("latent_mean", "latent_std"))
    assert closeness(latents, (other.encode(video).latent_dist.mode() - mean) / std) < 1e-4
    decoded = other.decode(latents * std + mean).sample
    assert closeness(vae.decode(latents).clamp(-1, 1), decoded) < 1e-4
    other.save_pretrained(tmp_path / "theirs", max_shard_size="100KB")  # in shards, with their index
    back = load_vae(tmp_path / "theirs", dim=8)
    assert back.config == vae.config
    assert_same_weights(back, vae)


@pytest.mark.parametrize(
    ("overrides", "fps", "per_frame"),
    [
        ({}, None, False),
        ({"rope_enable_fps_modulation": True}, 10, True),
        ({"condition_mask": False, "rope_t_extrapolation_ratio": 2.0}, None, False),
        ({"crossattn_proj_in_channels": 28, "mlp_ratio": 3.0, "rope_w_extrapolation_ratio": 2.0}, None, True),
    ],
    ids=["video2world", "frame_rate", "text2image", "reason1"],
)
@torch.no_grad()
def test_transformers(overrides: dict[str, Any], fps: int | None, per_frame: bool, tmp_path: Path):
    network = transformer(**overrides)
    config = network.config
    to_diffusers(network, tmp_path / "ours")
    other = theirs(tmp_path / "ours")
    x, text = torch.randn(2, 4, 3, 6, 8), torch.randn(2, 5, config.crossattn_proj_in_channels or 20)
    times = torch.rand(2, 3) if per_frame else torch.rand(2)
    condition = torch.zeros(2, 1, 3, 6, 8)
    condition[:, :, 0] = 1
    padding = torch.zeros(1, 1, 6, 8)
    padding[..., 5:] = 1
    ours = network(x, times, text, condition, fps, padding.expand(2, -1, -1, -1))
    # Diffusers resizes the mask by torchvision, an optional package: the channel is stacked here, as its own code does
    other.register_to_config(concat_padding_mask=False)
    masks = [condition] if config.condition_mask else []
    stacked = torch.cat([x, *masks, padding[:, :, None].expand(2, 1, 3, 6, 8)], dim=1)
    result = other(stacked, times[:, None, :, None, None] if per_frame else times, text, fps=fps).sample
    assert closeness(ours, result) < 1e-4
    other.register_to_config(concat_padding_mask=True)
    other.save_pretrained(tmp_path / "theirs")
    back = from_diffusers(tmp_path / "theirs")
    assert torch.equal(back(x, times, text, condition, fps, padding.expand(2, -1, -1, -1)), ours)
    assert_same_weights(back, network)


def assert_same_weights(one: nn.Module, other: nn.Module) -> None:
    assert list(one.state_dict()) == list(other.state_dict())
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("name", ["predict2_2b_video2world", "predict2_14b_video2world", "predict2_0.6b_text2image"])
def test_published_shapes_have_the_tensors_of_diffusers(name: str):
    from cosmos_lidar.models.dit.predict2.diffusers import diffusers_fields, diffusers_names

    with torch.device("meta"):
        other = diffusers.CosmosTransformer3DModel(**diffusers_fields(SHAPES[name])).state_dict()
        ours = Predict2DiT(SHAPES[name]).state_dict()
    names = diffusers_names(SHAPES[name])
    assert set(names) == set(ours)
    assert {names[own]: value.shape for own, value in ours.items()} == {
        key: value.shape for key, value in other.items()
    }


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (lambda: tokenizer("DV8x8x8"), "no quantizer for discrete tokenizers"),
        (lambda: build_tokenizer("CI8x8", channels=32, num_res_blocks=1), "no 2-D network for image and lidar"),
        (lambda: tokenizer("CV8x8x8", z_channels=32), "z_channels 32 and latent_channels 16"),
        (lambda: transformer(concat_view_embedding=True, state_t=2), "multi-view: it has no embedding of the cameras"),
        (lambda: transformer(state_t=2), "it takes every clip for one view"),
        (lambda: transformer(ray_channels=84), "ray-conditioned"),
        (lambda: transformer(control_channels=4), "control videos"),
        (lambda: transformer(sweep_channels=4), "no attention to them"),
        (lambda: transformer(compat=True), "bfloat16"),
        (lambda: transformer(rope_enable_fps_modulation=True, base_fps=16.0), "base_fps 24 alone, this network 16"),
        (lambda: build_dit("faditv2_debug"), "Predict1: its cameras have embeddings"),
        (lambda: build_backbone("minkunet18", 4, 0), "no class for a MinkUNet"),
    ],
)
def test_what_diffusers_cannot_hold_is_refused_with_the_reason(network: Any, reason: str, tmp_path: Path):
    with pytest.raises(UserError, match=reason):
        to_diffusers(network(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_network_that_is_filled_must_be_the_same(tmp_path: Path):
    to_diffusers(transformer(), tmp_path)
    filled = transformer(
        "predict2_2b_multiview", concat_view_embedding=False, state_t=0, rope_t_extrapolation_ratio=1.0
    )
    filled.blocks[0].mlp.layer1.weight.zero_()
    load_dit_weights(filled, tmp_path)
    assert_same_weights(filled, transformer())
    with pytest.raises(DataError, match="3.0 in Diffusers' network .*key rope_h_extrapolation_ratio.*Expected: 2.0"):
        load_dit_weights(transformer("predict2_14b_video2world"), tmp_path)


def test_folders_of_something_else_are_refused(tmp_path: Path):
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(DataError, match=r"a pipeline of several models.*transformer"):
        from_diffusers(tmp_path)
    with pytest.raises(DataError, match="no Diffusers model.*AutoencoderKLWan"):
        from_diffusers(tmp_path / "absent")
