"""Layers of the image tokenizers against their definitions, in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosmos_lidar.models.tokenizer.config import TokenizerConfig
from cosmos_lidar.models.tokenizer.image_layers import (
    AttnBlock,
    Decoder,
    Downsample,
    Encoder,
    Level,
    Middle,
    ResBlock,
    Upsample,
    group_norm,
)


def made(layer: nn.Module) -> nn.Module:
    with torch.no_grad():
        for number, parameter in enumerate(layer.parameters()):
            generator = torch.Generator().manual_seed(number)
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1 + (parameter.ndim == 1))
    return layer.double().eval()


def some(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(99), dtype=torch.float64)


def test_norm_is_over_each_of_32_groups():
    x = some(2, 64, 3, 5) * 4 + 2
    norm = group_norm(64).double()
    groups = x.view(2, 32, -1)
    wanted = (groups - groups.mean(-1, keepdim=True)) / (groups.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    assert torch.allclose(norm(x), wanted.view_as(x))


@pytest.mark.parametrize(("inputs", "outputs"), [(32, 32), (32, 64)])
def test_residual_block(inputs: int, outputs: int):
    block, x = made(ResBlock(inputs, outputs, dropout=0.5)), some(1, inputs, 4, 4)
    h = F.conv2d(F.silu(block.norm1(x)), block.conv1.weight, block.conv1.bias, padding=1)
    h = F.conv2d(F.silu(block.norm2(h)), block.conv2.weight, block.conv2.bias, padding=1)
    shortcut = x if inputs == outputs else F.conv2d(x, block.nin_shortcut.weight, block.nin_shortcut.bias)
    assert torch.allclose(block(x), shortcut + h)
    assert not torch.equal(block.train()(x), block(x))  # dropout


def test_attention_over_all_positions():
    block, x = made(AttnBlock(32)), some(1, 32, 2, 3)
    h = block.norm(x)[0].flatten(1).T  # (positions, channels)
    q, k, v = (h @ layer.weight[:, :, 0, 0].T + layer.bias for layer in (block.q, block.k, block.v))
    weights = torch.softmax(q @ k.T / 32**0.5, dim=-1)
    out = (weights @ v) @ block.proj_out.weight[:, :, 0, 0].T + block.proj_out.bias
    assert torch.allclose(block(x), x + out.T.view(1, 32, 2, 3))


def test_halving_pads_right_and_bottom_and_doubling_repeats_pixels():
    down, up, x = made(Downsample(32)), made(Upsample(32)), some(1, 32, 4, 6)
    wanted = F.conv2d(F.pad(x, (0, 1, 0, 1)), down.conv.weight, down.conv.bias, stride=2)
    assert torch.equal(down(x), wanted)
    assert down(x).shape == (1, 32, 2, 3)
    repeated = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(up(x), F.conv2d(repeated, up.conv.weight, up.conv.bias, padding=1))


def test_a_level_is_its_blocks_each_followed_by_attention():
    level, x = made(Level(32, 64, blocks=2, attention=True, dropout=0.0)), some(1, 32, 4, 4)
    wanted = level.attn[0](level.block[0](x))
    wanted = level.attn[1](level.block[1](wanted))
    assert torch.equal(level(x), wanted)
    assert not len(Level(32, 32, blocks=1, attention=False, dropout=0.0).attn)
    middle, x = made(Middle(32, 0.0)), some(1, 32, 4, 4)
    assert torch.equal(middle(x), middle.block_2(middle.attn_1(middle.block_1(x))))


@pytest.mark.parametrize(("compression", "patch"), [(8, 4), (8, 2), (16, 4)])
def test_encoder_and_decoder_change_the_size_by_the_compression(compression: int, patch: int):
    config = TokenizerConfig(spatial_compression=compression, patch_size=patch, channels=32,
                             channels_mult=(1, 1, 1), num_res_blocks=1, z_channels=5)  # fmt: skip
    encoder, decoder = Encoder(config).eval(), Decoder(config).eval()
    with torch.no_grad():
        z = encoder(torch.zeros(1, 3, 32, 48))
        assert z.shape == (1, 5, 32 // compression, 48 // compression)
        assert decoder(z).shape == (1, 3, 32, 48)
    halvings = {8: 1, 16: 2}[compression] + (1 if patch == 2 else 0)
    assert sum(hasattr(level, "downsample") for level in encoder.down) == halvings
    assert [hasattr(level, "upsample") for level in decoder.up] == [i >= 3 - halvings for i in range(3)]
    assert len(decoder.up[0].block) == len(encoder.down[0].block) + 1
