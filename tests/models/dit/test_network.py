"""The diffusion transformer against the published shapes and a reference run of a tiny network."""

import math

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.dit import build_dit


@pytest.fixture(scope="module")
def tiny():
    network = build_dit(
        "faditv2_7b", model_channels=48, num_heads=4, num_blocks=2, adaln_lora_dim=8, crossattn_emb_channels=32
    )
    with torch.no_grad():
        for i, (name, parameter) in enumerate(sorted(network.named_parameters())):
            wave = torch.sin(0.37 * torch.arange(parameter.numel(), dtype=torch.float64) + i)
            norm = name.endswith(("to_q.1.weight", "to_k.1.weight", "affline_norm.weight"))
            parameter.copy_((1 + 0.1 * wave if norm else 0.08 * wave).view_as(parameter).float())
    return network.eval()


@pytest.fixture(scope="module")
def inputs():
    x = torch.sin(0.013 * torch.arange(16 * 4 * 8 * 12, dtype=torch.float64)).float().view(1, 16, 4, 8, 12)
    mask = torch.ones(1, 1, 4, 8, 12)
    mask[:, :, 0] = 0
    text = torch.cos(0.05 * torch.arange(24 * 32, dtype=torch.float64)).float().view(1, 24, 32)
    return x, torch.tensor([0.25 * math.log(1.7)]), text, mask


def check(y, total, absolute, first, far):
    assert y.sum().item() == pytest.approx(total, abs=2e-3)
    assert y.abs().sum().item() == pytest.approx(absolute, rel=2e-6)
    assert y[0, 0:3, 0, 0, 0].tolist() == pytest.approx(first, abs=2e-5)
    assert y[0, 5, 3, 7, 11].item() == pytest.approx(far, abs=2e-5)


@torch.no_grad()
def test_reference_output(tiny, inputs):
    x, t, text, mask = inputs
    check(tiny(x, t, text, mask), -33.3914649, 6351.752953, [0.257744, 1.641059, 1.261479], 1.042379)


@torch.no_grad()
def test_no_text_is_zero_text(tiny, inputs):
    x, t, text, mask = inputs
    zero = tiny(x, t, torch.zeros_like(text), mask)
    check(zero, -33.3913781, 6351.875143, [0.2577713, 1.641148, 1.261536], 1.042439)
    assert torch.equal(zero, tiny(x, t, None, mask))


def test_published_size_and_keys():
    with torch.device("meta"):
        network = build_dit("faditv2_7b")
    state = network.state_dict()
    assert sum(p.numel() for p in network.parameters()) == 7_234_783_252
    assert len(state) == 569
    assert state["x_embedder.proj.1.weight"].shape == (4096, 92)
    assert state["pos_embedder.seq"].shape == (128,)
    assert state["t_embedder.1.linear_2.weight"].shape == (12288, 4096)
    assert state["view_embeddings.weight"].shape == (4, 5)
    assert state["final_layer.adaLN_modulation.2.weight"].shape == (8192, 256)
    assert state["blocks.block27.blocks.1.block.attn.to_k.0.weight"].shape == (4096, 1024)
    assert state["blocks.block0.blocks.2.block.layer1.weight"].shape == (16384, 4096)


def test_wrong_sizes_name_the_numbers():
    network = build_dit("faditv2_debug")
    with pytest.raises(UserError, match=r"\(3, 8, 12\).*\(4, 2, 2\)"):
        network(torch.zeros(1, 16, 3, 8, 12), torch.zeros(1))
    with pytest.raises(UserError, match="not a multiple of num_heads 7"):
        build_dit("faditv2_debug", num_heads=7)
    with pytest.raises(UserError, match="unknown diffusion transformer 'x'"):
        build_dit("x")
    with pytest.raises(UserError, match="unknown field 'depth'"):
        build_dit("faditv2_debug", depth=3)
