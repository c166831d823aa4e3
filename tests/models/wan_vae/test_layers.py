"""Each layer against its formula, written out in double precision."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosmos_lidar.models.wan_vae.layers import (
    CausalConv3d,
    ChannelNorm,
    Downsample,
    FrameAttention,
    FrameConv,
    ResBlock,
    Upsample,
)
from cosmos_lidar.models.wan_vae.memory import StreamMemory
from tests.models.wan_vae.reference import difference


def once() -> StreamMemory:
    return StreamMemory(keep=False)


def randomized(layer: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=generator) - 0.5)
    return layer.double()


def numbers(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64) - 0.5


def test_causal_convolution_sees_two_frames_before_and_none_after():
    layer, x = randomized(CausalConv3d(2, 3, (3, 3, 3))), numbers(1, 2, 4, 5, 6)
    wanted = F.conv3d(F.pad(x, (1, 1, 1, 1, 2, 0)), layer.weight, layer.bias)
    assert difference(layer(x, once()), wanted) < 1e-12
    later = x.clone()
    later[:, :, 3] = 9.0
    assert torch.equal(layer(later, once())[:, :, :3], layer(x, once())[:, :, :3])


def test_norm_of_the_channels_of_each_pixel():
    layer, x = randomized(ChannelNorm(4, 3)), numbers(2, 4, 3, 2, 2)
    x[0, :, 0, 0, 0] = 0.0  # a vector of length 0 stays
    length = (x**2).sum(1, keepdim=True).sqrt().clamp_min(1e-12)
    assert difference(layer(x), x / length * 2.0 * layer.gamma) < 1e-12
    with torch.no_grad():
        assert difference(layer(x), x / length * 2.0 * layer.gamma) < 1e-12


@pytest.mark.parametrize(("inputs", "outputs"), [(3, 3), (2, 3)])
def test_residual_block_has_a_shortcut_where_widths_differ(inputs: int, outputs: int):
    layer, x = randomized(ResBlock(inputs, outputs)), numbers(1, inputs, 3, 4, 4)
    names = {"0.gamma", "2.weight", "2.bias", "3.gamma", "6.weight", "6.bias"}
    own = {f"residual.{name}" for name in names}
    assert set(layer.state_dict()) == own | ({"shortcut.weight", "shortcut.bias"} if inputs != outputs else set())
    state = layer.state_dict()
    h = x
    for norm, conv in (("0", "2"), ("3", "6")):
        h = F.normalize(h, dim=1) * h.shape[1] ** 0.5 * state[f"residual.{norm}.gamma"]
        h = F.pad(h * torch.sigmoid(h), (1, 1, 1, 1, 2, 0))
        h = F.conv3d(h, state[f"residual.{conv}.weight"], state[f"residual.{conv}.bias"])
    beside = x if inputs == outputs else F.conv3d(x, state["shortcut.weight"], state["shortcut.bias"])
    assert difference(layer(x, once()), h + beside) < 1e-12


def test_gradients_are_those_of_the_formula_without_steps_in_place():
    layer, x = randomized(ResBlock(2, 3)), numbers(1, 2, 2, 3, 3).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda value: layer(value, once()), (x,))


def test_attention_within_each_frame():
    layer, x = randomized(FrameAttention(4)), numbers(2, 4, 3, 2, 3)
    wanted = torch.empty_like(x)
    for b in range(2):
        for t in range(3):
            frame = x[b, :, t].flatten(1)  # (C, positions)
            h = F.normalize(frame, dim=0) * 2.0 * layer.norm.gamma.view(4, 1)
            q, k, v = (layer.to_qkv.weight[:, :, 0, 0] @ h + layer.to_qkv.bias[:, None]).chunk(3)
            mixed = v @ torch.softmax(q.T @ k / 2.0, dim=1).T
            mixed = layer.proj.weight[:, :, 0, 0] @ mixed + layer.proj.bias[:, None]
            wanted[b, :, t] = (frame + mixed).view(4, 2, 3)
    assert difference(layer(x), wanted) < 1e-12
    assert not FrameAttention(4).proj.weight.any()  # starts as the identity, but for the bias


def test_halving_pads_right_and_bottom_only():
    layer, x = randomized(FrameConv(2, 2, halve=True)), numbers(1, 2, 3, 4, 6)
    for t in range(3):
        wanted = F.conv2d(F.pad(x[:, :, t], (0, 1, 0, 1)), layer.weight, layer.bias, stride=2)
        assert difference(layer(x)[:, :, t], wanted) < 1e-12


def test_the_first_frame_is_not_mixed_when_time_is_halved():
    layer, x = randomized(Downsample(2, temporal=True)), numbers(1, 2, 5, 4, 4)
    small = layer.resample["1"](x)
    wanted = F.conv3d(small, layer.time_conv.weight, layer.time_conv.bias, stride=(2, 1, 1))
    assert difference(layer(x, once()), torch.cat((small[:, :, :1], wanted), dim=2)) < 1e-12


def test_the_second_frame_sees_zeros_when_time_is_doubled():
    layer, x = randomized(Upsample(2, temporal=True)), numbers(1, 2, 3, 2, 2)
    time_conv, space = layer.time_conv, layer.resample["1"]
    both = F.conv3d(F.pad(x[:, :, 1:], (0, 0, 0, 0, 2, 0)), time_conv.weight, time_conv.bias)
    frames = [x[:, :, 0], both[:, :2, 0], both[:, 2:, 0], both[:, :2, 1], both[:, 2:, 1]]  # even, odd, even, odd
    for t, frame in enumerate(frames):
        large = frame.repeat_interleave(2, -1).repeat_interleave(2, -2)
        wanted = F.conv2d(large, space.weight, space.bias, padding=1)
        assert wanted.shape[1] == 1  # half the channels
        assert difference(layer(x, once())[:, :, t], wanted) < 1e-12
