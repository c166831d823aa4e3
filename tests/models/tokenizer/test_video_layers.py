"""Causal video tokenizers against numbers that the published networks gave, their causality, and their files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.plan import count_parameters
from cosmos_lidar.models.tokenizer import VIDEO_CONFIGS, build_tokenizer
from cosmos_lidar.models.tokenizer.video_config import Scaling
from cosmos_lidar.models.tokenizer.video_layers import (
    CausalConv3d,
    FrameNorm,
    HybridDown,
    HybridUp,
    SpatialAttention,
    TemporalAttention,
    VideoResBlock,
)
from tests.models.tokenizer.reference import fill, hash01, small_video_tokenizer, wave_video

VECTORS = np.load(Path(__file__).parents[2] / "vectors" / "video_tokenizer.npz")

# (all, encoder, decoder, quant_conv, post_quant_conv) parameters, state entries, parameter tensors
COUNTS = {
    "CV4x8x8": (73_192_128, 30_126_624, 43_064_960, 272, 272, 251, 246),
    "CV8x8x8": (105_653_696, 42_914_592, 62_738_560, 272, 272, 315, 310),
    "CV8x16x16": (110_898_624, 45_537_056, 65_361_024, 272, 272, 323, 318),
    "CV4x8x8_LowRes": (110_208_816, 45_343_520, 64_864_752, 272, 272, 323, 318),
    "DV4x8x8": (104_669_558, 42_717_728, 61_951_616, 102, 112, 314, 306),
    "DV8x8x8": (105_653_366, 42_914_592, 62_738_560, 102, 112, 318, 310),
    "DV8x16x16": (110_898_294, 45_537_056, 65_361_024, 102, 112, 326, 318),
    "DV4x8x8_LowRes": (112_619_766, 46_645_760, 65_970_672, 1542, 1792, 326, 318),
}


@pytest.mark.parametrize("name", VIDEO_CONFIGS)
def test_published_counts(name: str):
    with torch.device("meta"):
        config = VIDEO_CONFIGS[name]
        network = build_tokenizer(name) if config.family == "CV" else None
    network = network or build_tokenizer(name)  # the quantizer computes its codebook when it is made
    parts = (network.encoder, network.decoder, network.quant_conv, network.post_quant_conv)
    tensors = len(network.state_dict()), len(list(network.parameters()))
    assert (count_parameters(network), *map(count_parameters, parts), *tensors) == COUNTS[name]


def largest_difference(ours: torch.Tensor, key: str) -> float:
    """Largest difference to a stored reconstruction, of which every eighth row and column is kept."""
    return np.abs(ours.numpy()[..., ::8, ::8] - VECTORS[key]).max()


@pytest.mark.parametrize("name", ["CV4x8x8", "CV8x8x8", "CV8x16x16", "CV4x8x8_LowRes"])
def test_published_numbers_of_continuous_members(name: str):
    network = fill(build_tokenizer(name))
    with torch.no_grad():
        latents = network.encode(wave_video(9, 64, 64))
        assert np.abs(latents.numpy() - VECTORS[f"{name}/latent"]).max() < 5e-5
        assert largest_difference(network.decode(latents), f"{name}/recon_s") < 5e-4
        made_up = torch.from_numpy((2 * hash01(latents.numel(), 12345) - 1).astype(np.float32)).view_as(latents)
        assert largest_difference(network.decode(made_up), f"{name}/decode_hash_recon_s") < 5e-4


@pytest.mark.parametrize("name", ["DV4x8x8", "DV8x8x8", "DV8x16x16", "DV4x8x8_LowRes"])
def test_published_numbers_of_discrete_members(name: str):
    network = fill(build_tokenizer(name))
    with torch.no_grad():
        before = network.quant_conv(network.encoder(wave_video(9, 64, 64)))
        assert np.abs(before.numpy() - VECTORS[f"{name}/prequant"]).max() < 5e-5
        indices, codes = network.quantizer(before)
        assert (indices.numpy() == VECTORS[f"{name}/indices"]).all()
        assert (codes.numpy() == VECTORS[f"{name}/codes"]).all()
        assert largest_difference(network.decode(codes), f"{name}/recon_s") < 5e-4
        grid = (torch.arange(indices.numel()) * 7919 % 64000).int().view_as(indices)
        assert largest_difference(network.decode_indices(grid), f"{name}/decode_grid_recon_s") < 5e-4


both, space, time = Scaling(True, True), Scaling(True, False), Scaling(False, True)
LAYERS = {
    "cc333": lambda: CausalConv3d(4, 4, (3, 3, 3)),
    "cc311": lambda: CausalConv3d(4, 4, (3, 1, 1)),
    "cc133": lambda: CausalConv3d(4, 4, (1, 3, 3)),
    "norm1": lambda: FrameNorm(4),
    "down_st": lambda: HybridDown(4, both),
    "down_s": lambda: HybridDown(4, space),
    "down_t": lambda: HybridDown(4, time),
    "up_st": lambda: HybridUp(4, both),
    "up_s": lambda: HybridUp(4, space),
    "up_t": lambda: HybridUp(4, time),
    "res": lambda: VideoResBlock(4, 8, 0.0),
    "sattn": lambda: SpatialAttention(4),
    "tattn": lambda: TemporalAttention(4),
}
FIRST_FRAME_MEAN = {"down_st": -0.1984377, "up_st": 0.0395485, "down_t": 0.0828502, "up_t": -0.0816512}


@pytest.mark.parametrize("tag", LAYERS)
def test_published_numbers_of_layers(tag: str):
    layer = fill(torch.nn.ModuleDict({tag: LAYERS[tag]()}))[tag]
    x = torch.from_numpy(VECTORS["prim/in"])
    with torch.no_grad():
        assert np.abs(layer(x).numpy() - VECTORS[f"prim/{tag}"]).max() < 5e-6
        if tag in FIRST_FRAME_MEAN:
            assert layer(x[:, :, :1]).mean().item() == pytest.approx(FIRST_FRAME_MEAN[tag], abs=1e-6)
        assert torch.isfinite(layer.bfloat16()(x.bfloat16())).all()  # no kernel without bfloat16 on the CPU


def changed(before: torch.Tensor, after: torch.Tensor) -> list[int]:
    """Frames of (B, C, T, H, W) that differ."""
    return [t for t in range(before.shape[2]) if not torch.equal(before[:, :, t], after[:, :, t])]


@pytest.mark.parametrize(
    ("name", "frame", "latents"),
    [("CV8x8x8", 0, [0, 1, 2]), ("CV8x8x8", 1, [1, 2]), ("CV8x8x8", 8, [1, 2]), ("CV8x8x8", 9, [2]),
     ("CV4x8x8", 0, [0, 1, 2, 3, 4]), ("CV4x8x8", 4, [1, 2, 3, 4]), ("CV4x8x8", 5, [2, 3, 4]), ("CV4x8x8", 16, [4])],
)  # fmt: skip
def test_a_frame_changes_no_earlier_latent(name: str, frame: int, latents: list[int]):
    network, x = small_video_tokenizer(name), wave_video(17, 16, 16)
    other = x.clone()
    other[:, :, frame] *= -1
    with torch.no_grad():
        assert changed(network.encode(x), network.encode(other)) == latents


@pytest.mark.parametrize(("name", "frames"), [("CV8x8x8", range(17, 25)), ("CV4x8x8", range(9, 13))])
def test_a_latent_changes_no_earlier_frame(name: str, frames: range):
    network = small_video_tokenizer(name)
    z = torch.from_numpy(hash01(16 * 4 * 4, 3).astype(np.float32)).view(1, 16, 4, 2, 2)
    other = z.clone()
    other[:, :, -1] *= -1
    with torch.no_grad():
        y = network.decode(z)
        assert changed(y, network.decode(other)) == list(frames)
        assert torch.allclose(network.decode(z[:, :, :2]), y[:, :, : frames.start - len(frames)], atol=1e-4)


@pytest.mark.parametrize("name", ["CV8x8x8", "CV4x8x8", "CV4x8x8_LowRes", "CV8x16x16", "DV8x16x16"])
def test_an_image_is_a_clip_of_one_frame(name: str):
    network, x = small_video_tokenizer(name), wave_video(9, 32, 48)
    with torch.no_grad():
        assert network(x).reconstructions.shape == x.shape
        assert network(x[:, :, :1]).reconstructions.shape == (1, 3, 1, 32, 48)
        if name.startswith("CV"):
            assert torch.allclose(network.encode(x[:, :, :1]), network.encode(x)[:, :, :1], atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 3, 10, 16, 16), (1, 3, 9, 12, 16), (1, 3, 16, 16), (1, 3, 0, 16, 16)])
def test_clips_that_would_be_cut_are_refused(shape: tuple[int, ...]):
    wanted = "H and W multiples of 8, T one more than a multiple of 8"
    with pytest.raises(DataError, match=re.escape(f"clips of shape {shape}") + f".*{wanted}"):
        small_video_tokenizer("CV8x8x8").encode(torch.zeros(shape))
