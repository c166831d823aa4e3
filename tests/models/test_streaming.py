"""Chunk by chunk is the same as at once; two streams do not disturb each other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError
from cosmos_lidar.models.tokenizer import build_tokenizer
from cosmos_lidar.models.tokenizer.streaming import StreamingDecoder, StreamingEncoder

MEMBERS = ["CV4x8x8", "CV8x8x8", "CV8x16x16", "CV4x8x8_LowRes", "DV4x8x8", "DV8x16x16", "DV4x8x8_LowRes"]


def small(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_tokenizer(name, channels=32, num_res_blocks=1).double().eval().requires_grad_(False)


def video(network: nn.Module, latents: int, seed: int = 0, batch: int = 1) -> Tensor:
    frames, size = 1 + (latents - 1) * network.config.temporal_compression, 2 * network.config.spatial_compression
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, frames, size, 2 * size, generator=generator, dtype=torch.float64) * 2 - 1


def encode_in(network: nn.Module, x: Tensor, latents: list[int]) -> list[Tensor]:
    stream, step, parts, start = StreamingEncoder(network), network.config.temporal_compression, [], 0
    for number, count in enumerate(latents):
        stop = start + count * step - (step - 1 if number == 0 else 0)
        parts.append(stream(x[:, :, start:stop]))
        start = stop
    assert start == x.shape[2]
    return parts


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("latents", [[1, 1, 1, 1], [2, 2], [3, 1]])
def test_chunks_are_the_whole(name: str, latents: list[int]):
    network = small(name)
    x = video(network, sum(latents), batch=2 if len(latents) == 2 else 1)
    whole, parts = network.encode(x), encode_in(network, x, latents)
    if name.startswith("D"):
        indices, codes = (torch.cat(part, dim=dim) for part, dim in zip(zip(*parts, strict=True), (1, 2), strict=True))
        assert torch.equal(indices, whole[0])
        assert torch.equal(codes, whole[1])
        z = codes
    else:
        z = torch.cat(parts, dim=2)
        assert torch.allclose(z, whole, rtol=0, atol=1e-12)
    decoder = StreamingDecoder(network)
    pictures = [decoder(part) for part in z.split(latents, dim=2)]
    assert [part.shape[2] for part in pictures][0] == 1 + (latents[0] - 1) * network.config.temporal_compression
    assert torch.allclose(torch.cat(pictures, dim=2), network.decode(z), rtol=0, atol=1e-11)


def test_two_streams_through_one_network_and_nothing_is_left_behind():
    network = small("CV4x8x8")
    before = {name: set(vars(module)) for name, module in network.named_modules()}
    clips = [video(network, 3, seed) for seed in (1, 2)]
    streams, parts = [StreamingEncoder(network) for _ in clips], [[], []]
    for start, stop in ((0, 1), (1, 5), (5, 9)):
        for number in (0, 1):
            parts[number].append(streams[number](clips[number][:, :, start:stop]))
    for number, clip in enumerate(clips):
        assert torch.allclose(torch.cat(parts[number], dim=2), network.encode(clip), rtol=0, atol=1e-12)
    assert {name: set(vars(module)) for name, module in network.named_modules()} == before


def test_an_error_in_mid_stream_leaves_the_network_as_it_was():
    network = small("CV4x8x8")
    x = video(network, 2)
    stream = StreamingEncoder(network)
    stream(x[:, :, :1])
    with pytest.raises(RuntimeError):
        stream(x[:, :, 1:, :, :8])  # another width than before
    assert torch.equal(network.encode(x), network.encode(x))
    assert "with_past" not in vars(network.encoder.conv_in[1])


def test_memory_is_bounded_but_for_attention_and_bounded_with_a_window():
    network = small("CV4x8x8")
    x = video(network, 6)
    exact, bounded = StreamingEncoder(network), StreamingEncoder(network, window=2)
    sizes, steps = [], [(0, 1), (1, 5), (5, 9), (9, 13), (13, 17), (17, 21)]
    for start, stop in steps:
        exact(x[:, :, start:stop])
        bounded(x[:, :, start:stop])
        sizes.append((exact.memory_bytes, bounded.memory_bytes))
    growth = {later[0] - earlier[0] for earlier, later in zip(sizes[1:-1], sizes[2:], strict=True)}
    channels, latent_pixels = 32 * 4, x.shape[3] * x.shape[4] // 64
    assert growth == {2 * channels * latent_pixels * 8}
    assert len({size for _, size in sizes[1:]}) == 1


@pytest.mark.parametrize("shape", [(1, 3, 2, 16, 32), (1, 3, 0, 16, 32), (1, 4, 1, 16, 32), (1, 3, 1, 15, 32)])
def test_first_chunks_that_do_not_fit(shape: tuple[int, ...]):
    with pytest.raises(DataError, match=r"T 1 \+ a multiple of 4, H and W multiples of 8"):
        StreamingEncoder(small("CV4x8x8"))(torch.zeros(shape, dtype=torch.float64))


def test_later_chunks_that_do_not_fit_and_networks_without_time():
    network = small("CV4x8x8")
    stream = StreamingEncoder(network)
    stream(video(network, 1))
    with pytest.raises(DataError, match=r"T a multiple of 4"):
        stream(video(network, 2)[:, :, :5])
    with pytest.raises(DataError, match="latents of shape"):
        StreamingDecoder(network)(torch.zeros(1, 5, 1, 2, 2, dtype=torch.float64))
    with pytest.raises(DataError, match="a CI tokenizer"):
        StreamingEncoder(build_tokenizer("CI8x8", channels=32))
