"""Chunk by chunk is the same as at once; two streams do not disturb each other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from cosmos_lidar.errors import DataError, UserError
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
    images = [decoder(part) for part in z.split(latents, dim=2)]
    assert [part.shape[2] for part in images][0] == 1 + (latents[0] - 1) * network.config.temporal_compression
    assert torch.allclose(torch.cat(images, dim=2), network.decode(z), rtol=0, atol=1e-11)


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


def test_an_error_in_mid_chunk_changes_neither_the_network_nor_the_stream(monkeypatch):
    network = small("CV4x8x8")
    x = video(network, 3)
    stream = StreamingEncoder(network)
    parts = [stream(x[:, :, :5])]
    with monkeypatch.context() as broken:
        broken.setattr(network.encoder.mid.block_2, "forward", lambda _: 1 / 0)  # much is remembered before it
        with pytest.raises(ZeroDivisionError):
            stream(x[:, :, 5:])
    assert "with_past" not in vars(network.encoder.conv_in[1])
    parts.append(stream(x[:, :, 5:]))
    assert torch.allclose(torch.cat(parts, dim=2), network.encode(x), rtol=0, atol=1e-12)


def test_streams_of_several_threads_take_turns():
    network = small("CV4x8x8")
    clips = [video(network, 9, seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda clip: torch.cat(encode_in(network, clip, [1] * 9), dim=2), clips))
    for clip, z in zip(clips, found, strict=True):
        assert torch.allclose(z, network.encode(clip), rtol=0, atol=1e-12)


def test_the_training_path_and_the_keys_stay_as_they_are():
    network = small("CV4x8x8").requires_grad_(True).train()
    x, keys = video(network, 2), list(network.state_dict())
    before = network(x)["reconstructions"]
    stream = StreamingEncoder(network)
    z = [stream(x[:, :, :1]), stream(x[:, :, 1:])]
    assert not z[1].requires_grad  # graphs of all chunks would be kept
    after = network(x)["reconstructions"]
    assert torch.equal(before, after)
    after.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert list(network.state_dict()) == keys


@pytest.mark.parametrize("name", ["CV8x8x8", "DV8x16x16"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_other_types(name: str, dtype: torch.dtype):
    network = small(name).to(dtype)
    x = video(network, 6).to(dtype)
    whole, parts = network.encode(x), encode_in(network, x, [1, 2, 3])
    if name.startswith("D"):
        z, whole_z = torch.cat([codes for _, codes in parts], dim=2), whole[1]
        if dtype == torch.float32:
            assert torch.equal(torch.cat([indices for indices, _ in parts], dim=1), whole[0])
    else:
        z, whole_z = torch.cat(parts, dim=2), whole
    decoder = StreamingDecoder(network)
    images = torch.cat([decoder(part) for part in whole_z.split([2, 3, 1], dim=2)], dim=2)
    limit = 5e-5 if dtype == torch.float32 else 0.05
    assert z.dtype == images.dtype == dtype
    assert (z - whole_z).float().abs().mean() < limit
    assert (images - network.decode(whole_z)).float().abs().mean() < limit * images.float().std()


@pytest.mark.parametrize("window", [1, 2, 3])
def test_a_window_forgets_the_same_for_every_division_into_chunks(window: int):
    network = small("CV4x8x8")
    z = torch.randn(1, 16, 8, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = []
    for counts in ([1] * 8, [2] * 4, [3, 5], [8]):
        decoder = StreamingDecoder(network, window)
        found.append(torch.cat([decoder(part) for part in z.split(counts, dim=2)], dim=2))
    assert all(torch.allclose(other, found[0], rtol=0, atol=1e-11) for other in found[1:])
    exact = network.decode(z)
    seen = 1 + (window - 1) * 4
    assert torch.allclose(found[0][:, :, :seen], exact[:, :, :seen], rtol=0, atol=1e-11)
    assert not torch.allclose(found[0], exact, atol=1e-3)
    wide = StreamingDecoder(network, 8)
    assert torch.allclose(torch.cat([wide(part) for part in z.split(1, dim=2)], dim=2), exact, rtol=0, atol=1e-11)


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
    with pytest.raises(DataError, match=r"\(1, 16, 8\) Expected: \(1, 16, 32\), as the first chunk had"):
        stream(video(network, 2)[:, :, 1:, :, :8])
    with pytest.raises(DataError, match="latents of shape"):
        StreamingDecoder(network)(torch.zeros(1, 5, 1, 2, 2, dtype=torch.float64))
    with pytest.raises(DataError, match="at least one frame"):
        StreamingDecoder(network)(torch.zeros(1, 16, 0, 2, 2, dtype=torch.float64))
    with pytest.raises(DataError, match="a CI tokenizer"):
        StreamingEncoder(build_tokenizer("CI8x8", channels=32))
    for window in (0, -1):
        with pytest.raises(UserError, match=f"window={window}: at least 1 latent frame"):
            StreamingDecoder(network, window)
