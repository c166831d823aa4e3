"""Image tokenizers against numbers that the published networks gave, and against their counts and keys."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.plan import count_parameters
from cosmos_lidar.models.tokenizer import CONFIGS, build_tokenizer
from cosmos_lidar.parallel.apply import parallelize
from tests.models.tokenizer.reference import VECTORS, fill, hash01, small_tokenizer, wave_video

# (all, encoder, decoder, quant_conv, post_quant_conv) parameters, state entries, parameter tensors
COUNTS = {
    "CI8x8": (76_789_472, 31_153_552, 45_635_376, 272, 272, 202, 198),
    "CI16x16": (81_509_088, 33_513_360, 47_995_184, 272, 272, 206, 202),
    "CI8x8_LowRes": (81_384_636, 33_471_888, 47_912_204, 272, 272, 206, 202),
    "CI16x16_LowRes": (84_334_524, 35_831_696, 48_502_284, 272, 272, 210, 206),
    "DI8x8": (79_004_342, 32_259_712, 46_741_296, 1542, 1792, 205, 198),
    "DI16x16": (83_723_958, 34_619_520, 49_101_104, 1542, 1792, 209, 202),
    "DI8x8_LowRes": (83_599_506, 34_578_048, 49_018_124, 1542, 1792, 209, 202),
    "DI16x16_LowRes": (86_549_394, 36_937_856, 49_608_204, 1542, 1792, 213, 206),
}


def largest_difference(ours: torch.Tensor, key: str) -> float:
    """Largest difference to a stored reconstruction, of which every fourth row and column is kept."""
    return np.abs(ours.numpy()[..., ::4, ::4] - VECTORS[key]).max()


def test_the_generator_of_weights():
    assert hash01(4, 0).tolist() == [0.0, 0.12666626018472016, 0.2721635533962399, 0.6856041590217501]


@pytest.mark.parametrize("name", CONFIGS)
def test_published_numbers(name: str):
    network = fill(build_tokenizer(name))
    parts = (network.encoder, network.decoder, network.quant_conv, network.post_quant_conv)
    tensors = len(network.state_dict()), len(list(network.parameters()))
    assert (count_parameters(network), *map(count_parameters, parts), *tensors) == COUNTS[name]
    x = wave_video(1, 64, 64)[:, :, 0]
    with torch.no_grad():
        if name.startswith("CI"):
            latents = network.encode(x)
            assert np.abs(latents.numpy() - VECTORS[f"{name}/latent"]).max() < 5e-5
            assert largest_difference(network.decode(latents), f"{name}/recon_s") < 5e-4
            made_up = torch.from_numpy((2 * hash01(latents.numel(), 12345) - 1).astype(np.float32)).view_as(latents)
            assert largest_difference(network.decode(made_up), f"{name}/decode_hash_recon_s") < 5e-4
        else:
            before = network.quant_conv(network.encoder(x))
            assert np.abs(before.numpy() - VECTORS[f"{name}/prequant"]).max() < 5e-5
            indices, codes = network.quantizer(before)
            assert (indices.numpy() == VECTORS[f"{name}/indices"]).all()
            assert (codes.numpy() == VECTORS[f"{name}/codes"]).all()
            assert largest_difference(network.decode(codes), f"{name}/recon_s") < 5e-4
            grid = (torch.arange(indices.numel()) * 7919 % 64000).int().view_as(indices)
            assert largest_difference(network.decode_indices(grid), f"{name}/decode_grid_recon_s") < 5e-4


def expected_image_keys(attention: bool) -> set[str]:
    """The keys of CI8x8, written down from the published enumeration."""

    def leaves(*names: str) -> set[str]:
        return {f"{name}.{leaf}" for name in names for leaf in ("weight", "bias")}

    def block(name: str, shortcut: bool = False) -> set[str]:
        parts = ["norm1", "conv1", "norm2", "conv2", *(["nin_shortcut"] if shortcut else [])]
        return leaves(*(f"{name}.{part}" for part in parts))

    def attn(name: str) -> set[str]:
        return leaves(*(f"{name}.{part}" for part in ("norm", "q", "k", "v", "proj_out")))

    haar = ("encoder.patcher", "decoder.unpatcher")
    keys = {f"{part}.{buffer}" for part in haar for buffer in ("wavelets", "_arange")}
    keys |= leaves("quant_conv", "post_quant_conv", "encoder.down.0.downsample.conv", "decoder.up.2.upsample.conv")
    for part in ("encoder", "decoder"):
        keys |= leaves(f"{part}.conv_in", f"{part}.norm_out", f"{part}.conv_out")
        keys |= block(f"{part}.mid.block_1") | attn(f"{part}.mid.attn_1") | block(f"{part}.mid.block_2")
    for level in range(3):
        for i in range(2):
            keys |= block(f"encoder.down.{level}.block.{i}", shortcut=(level, i) in ((0, 0), (1, 0)))
        for i in range(3):
            keys |= block(f"decoder.up.{level}.block.{i}", shortcut=(level, i) == (0, 0))
            keys |= attn(f"decoder.up.2.attn.{i}") if attention else set()
    return keys


@pytest.mark.parametrize(("resolution", "parameters", "entries"), [(1024, 76_789_472, 202), (512, 79_944_416, 232)])
def test_the_lidar_decoder_has_three_more_attention_blocks(resolution: int, parameters: int, entries: int):
    with torch.device("meta"):
        network = build_tokenizer("CI8x8", resolution=resolution)
    assert set(network.state_dict()) == expected_image_keys(attention=resolution == 512)
    assert (count_parameters(network), len(network.state_dict())) == (parameters, entries)
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    assert shapes["encoder.conv_in.weight"] == (128, 48, 3, 3)
    assert shapes["encoder.down.0.block.0.nin_shortcut.weight"] == (256, 128, 1, 1)
    assert shapes["decoder.up.0.block.0.nin_shortcut.weight"] == (256, 512, 1, 1)
    assert shapes["decoder.conv_out.weight"] == (48, 256, 3, 3)


# By fill and resolution: sums (plain, absolute) of z, z[0, 0:4, 0, 0], z[0, 3, 2, 5], sums of y, y[0, 0, 0, 0:4], and
# y[0, 2, 31, 63].
LIDAR = {
    ("A", 1024): ((0.63421281, 3.28419454), (0.000787014, 0.007664233, 0.009743363, 0.000915976), 0.0009160873,
                  (35.852269, 80.277715), (0.00443423, 0.00112967, 0.005043326, -0.0003868211), -0.001994696),
    ("A", 512): ((0.63421281, 3.28419454), (0.000787014, 0.007664233, 0.009743363, 0.000915976), 0.0009160873,
                 (35.852269, 80.277709), (0.004434262, 0.001129691, 0.005043265, -0.0003867894), -0.00199467),
    ("B", 1024): ((2.45071652, 18.67849208), (0.02610657, 0.0437976, 0.03895267, 0.02773299), 0.02338674,
                  (390.202873, 12387.020887), (0.05325785, 0.1106612, 0.5044785, -0.1194714), 0.4588345),
    ("B", 512): ((2.45071652, 18.67849208), (0.02610657, 0.0437976, 0.03895267, 0.02773299), 0.02338674,
                 (390.341002, 12390.535441), (0.05324185, 0.1106319, 0.504038, -0.1194399), 0.4588198),
}  # fmt: skip
DECODED = {1024: (395.625671, 12106.870495, (7.841816, 3.493431, -1.846398, 0.5489254)),
           512: (395.764199, 12109.726655, (7.831705, 3.547802, -1.875502, 0.5457962))}  # fmt: skip


def fill_waves(network: torch.nn.Module, kind: str) -> None:
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            j = torch.arange(parameter.numel(), dtype=torch.float64)
            wave, weight = torch.sin(0.7 * j + 0.3), name.endswith("weight")
            if kind == "A":
                value = 0.01 * torch.sin(j)
            elif "norm" in name:
                value = 1 + 0.2 * wave if weight else 0.1 * wave
            else:
                value = (0.03 if weight else 0.05) * wave
            parameter.copy_(value.float().view_as(parameter))


def sums(x: torch.Tensor) -> tuple[float, float]:
    return x.double().sum().item(), x.double().abs().sum().item()


@pytest.mark.parametrize("resolution", [1024, 512])
@pytest.mark.parametrize("kind", ["A", "B"])
def test_lidar_shapes_give_the_published_numbers(kind: str, resolution: int):
    network = build_tokenizer("CI8x8", resolution=resolution).eval()
    fill_waves(network, kind)
    x = torch.sin(0.05 * torch.arange(3 * 32 * 64, dtype=torch.float64)).float().view(1, 3, 32, 64)
    z_sums, z_first, z_inside, y_sums, y_first, y_last = LIDAR[kind, resolution]
    with torch.no_grad():
        z = network.encode(x)
        y = network.decode(z)
    near = {"rel": 1e-4, "abs": 1e-7}
    assert sums(z) == pytest.approx(z_sums, **near)
    assert z[0, :4, 0, 0].tolist() == pytest.approx(z_first, **near)
    assert z[0, 3, 2, 5].item() == pytest.approx(z_inside, **near)
    assert sums(y) == pytest.approx(y_sums, rel=1e-5)
    assert y[0, 0, 0, :4].tolist() == pytest.approx(y_first, **near)
    assert y[0, 2, 31, 63].item() == pytest.approx(y_last, **near)
    if kind == "B":
        total, absolute, inside = DECODED[resolution]
        with torch.no_grad():
            made_up = network.decode(torch.sin(0.1 * torch.arange(512, dtype=torch.float64)).float().view(1, 16, 4, 8))
        assert sums(made_up) == pytest.approx((total, absolute), rel=1e-5)
        assert made_up[0, 1, 16, 30:34].tolist() == pytest.approx(inside, **near)


def test_forward_gives_named_fields_and_a_dictionary_while_training():
    network, x = small_tokenizer(), wave_video(1, 16, 24)[:, :, 0]
    output = network(x)
    assert output._fields == ("reconstructions", "posteriors", "latent")
    assert (output.reconstructions.shape, output.latent.shape) == (x.shape, (1, 16, 2, 3))
    assert set(network.train()(x)) == set(output._fields)
    discrete = small_tokenizer("DI8x8")
    output = discrete(x)
    assert output._fields == ("reconstructions", "quant_loss", "quant_info")
    assert (output.quant_loss.sum().item(), output.quant_info.shape) == (0.0, (1, 2, 3))
    assert torch.equal(discrete.quantizer.indices_to_codes(output.quant_info), discrete.encode(x)[1])
    assert torch.allclose(discrete.decode_indices(output.quant_info), output.reconstructions, atol=1e-4)


def test_a_small_network_learns_through_every_parameter():
    network = small_tokenizer(resolution=512).train()
    network(wave_video(1, 16, 16)[:, :, 0])["reconstructions"].square().mean().backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    without = [name for name, gradient in gradients.items() if gradient is None or not gradient.any()]
    assert all(name.endswith(".k.bias") for name in without)  # softmax does not see a shift of all keys


def test_recomputing_gives_the_same_gradients():
    x, gradients = wave_video(1, 16, 16)[:, :, 0], []
    for kind in ("none", "selective", "full"):
        network = small_tokenizer().train()
        parallelize(network, network.parallel_plan(), None, recompute=kind)
        network(x)["reconstructions"].square().mean().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(*gradients, strict=True))


def test_channels_last_gives_the_same_numbers():
    network, x = small_tokenizer(), wave_video(1, 32, 24)[:, :, 0]
    with torch.no_grad():
        plain = network(x).reconstructions
        network = network.to(memory_format=torch.channels_last)
        last = network(x.contiguous(memory_format=torch.channels_last)).reconstructions
    assert torch.allclose(plain, last, atol=1e-4)  # values reach 10


@pytest.mark.parametrize("shape", [(1, 3, 36, 64), (1, 3, 64, 1790), (1, 1, 64, 64), (3, 64, 64), (1, 3, 0, 8)])
def test_images_that_would_be_cut_are_refused(shape: tuple[int, ...]):
    network = small_tokenizer()
    with pytest.raises(DataError, match=re.escape(f"images of shape {shape}") + ".*multiples of 8: pad or crop"):
        network.encode(torch.zeros(shape))


def test_images_of_bytes_are_refused():
    with pytest.raises(DataError, match=r"images of type torch\.uint8 Expected: floating-point values in \[-1, 1\]"):
        small_tokenizer().encode(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))


def test_latents_of_another_network_are_refused():
    with pytest.raises(DataError, match=r"latents of shape \(1, 8, 2, 2\) Expected: \(B, 16, h, w\), of a CI"):
        small_tokenizer().decode(torch.zeros(1, 8, 2, 2))
    with pytest.raises(DataError, match=r"latents of shape \(16, 2, 2\)"):
        small_tokenizer().decode(torch.zeros(16, 2, 2))
    discrete = small_tokenizer("DI8x8")
    with pytest.raises(DataError, match=r"latents of shape \(2, 6, 2\) Expected: \(B, 6, h, w\), of a DI tokenizer"):
        discrete.decode_indices(torch.zeros(2, 2, dtype=torch.int32))
    with pytest.raises(DataError, match=r"indices of type torch\.float32 Expected: integers"):
        discrete.decode_indices(torch.zeros(1, 2, 2))
