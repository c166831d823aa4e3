from __future__ import annotations

import torch

from cosmos_lidar.models.plan import count_parameters
from cosmos_lidar.models.wan_vae import build_vae
from cosmos_lidar.models.wan_vae.memory import StreamMemory
from tests.models.wan_vae.reference import VECTORS, difference, small_vae, video


def test_published_size_and_names():
    with torch.device("meta"):
        vae = build_vae("wan2_1", dim=96)
    assert (count_parameters(vae), len(vae.state_dict())) == (126_892_531, 194)
    assert (count_parameters(vae.encoder), count_parameters(vae.decoder)) == (53_595_872, 73_295_331)
    shapes = {name: tuple(value.shape) for name, value in vae.state_dict().items()}
    for name, shape in {
        "encoder.conv1.weight": (96, 3, 3, 3, 3),
        "encoder.downsamples.0.residual.0.gamma": (96, 1, 1, 1),
        "encoder.downsamples.2.resample.1.weight": (96, 96, 3, 3),
        "encoder.downsamples.3.shortcut.weight": (192, 96, 1, 1, 1),
        "encoder.downsamples.5.time_conv.weight": (192, 192, 3, 1, 1),
        "encoder.downsamples.10.residual.6.bias": (384,),
        "encoder.middle.1.norm.gamma": (384, 1, 1),
        "encoder.middle.1.to_qkv.weight": (1152, 384, 1, 1),
        "encoder.head.0.gamma": (384, 1, 1, 1),
        "encoder.head.2.weight": (32, 384, 3, 3, 3),
        "conv1.weight": (32, 32, 1, 1, 1),
        "conv2.weight": (16, 16, 1, 1, 1),
        "decoder.upsamples.3.time_conv.weight": (768, 384, 3, 1, 1),
        "decoder.upsamples.3.resample.1.weight": (192, 384, 3, 3),
        "decoder.upsamples.4.shortcut.weight": (384, 192, 1, 1, 1),
        "decoder.upsamples.11.resample.1.weight": (96, 192, 3, 3),
        "decoder.head.2.weight": (3, 96, 3, 3, 3),
    }.items():
        assert shapes[name] == shape, name
    assert "decoder.upsamples.11.time_conv.weight" not in shapes
    assert "decoder.upsamples.8.shortcut.weight" not in shapes


def test_every_stage_of_the_encoder_is_the_published_one():
    vae, found = small_vae(), []
    for layer in vae.encoder.downsamples:
        layer.register_forward_hook(lambda module, args, out: found.append((out.mean(), out.std(correction=0))))
    vae.encode(video(1))
    assert difference(torch.tensor(found), VECTORS["enc_stage_T1_mean_std"]) < 2e-5


def test_moments_are_the_published_ones():
    with torch.no_grad():
        found = small_vae().moments(video(5), StreamMemory(keep=False))
    assert difference(found, VECTORS["moments_T5"]) < 2e-5
