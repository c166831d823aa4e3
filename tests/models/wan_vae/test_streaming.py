"""Chunk by chunk is the same as at once, and the same as published."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.models.wan_vae import WanVAE, build_vae
from tests.models.wan_vae.reference import VECTORS, difference, small_vae, video


def encoded_in(vae: WanVAE, x: Tensor, sizes: list[int]) -> Tensor:
    stream = vae.stream_encode()
    return torch.cat([stream(part) for part in x.split(sizes, dim=2)], dim=2)


@pytest.mark.parametrize("sizes", [[1, 16, 12], [1, 4, 4, 4, 16], [5, 24], [29], [9, 4, 16]])
def test_encoding_does_not_depend_on_the_chunks(sizes: list[int]):
    found = encoded_in(small_vae(), video(29), sizes)
    assert difference(found, VECTORS["z_T29"]) < 2e-5


def test_decoding_does_not_depend_on_the_chunks():
    vae, z = small_vae(), VECTORS["z_T29"][:, :, :5]
    whole = vae.decode(z, window=None)
    for sizes in ([1] * 5, [2, 3], [1, 4]):
        stream = vae.stream_decode()
        parts = [stream(part) for part in z.split(sizes, dim=2)]
        assert [part.shape[2] for part in parts] == [4 * count - (3 if n == 0 else 0) for n, count in enumerate(sizes)]
        assert difference(torch.cat(parts, dim=2), whole) < 1e-5


def test_memory_is_two_frames_of_each_convolution_and_does_not_grow():
    vae = small_vae()
    encoder, decoder = vae.stream_encode(), vae.stream_decode()
    encoder(video(29)[:, :, :1])
    decoder(VECTORS["z_T29"][:, :, :1])
    assert len(encoder._memory._past) == 24  # 26 causal convolutions without 2 shortcuts, all but 1 x 1 x 1
    assert len(decoder._memory._past) == 32 - 2  # convolutions that double time have not begun
    decoder(VECTORS["z_T29"][:, :, 1:2])
    assert len(decoder._memory._past) == 32
    before = encoder.memory_bytes, decoder.memory_bytes
    encoder(video(29)[:, :, 1:17])
    decoder(VECTORS["z_T29"][:, :, 2:6])
    assert (encoder.memory_bytes, decoder.memory_bytes) == (pytest.approx(before[0], rel=1e-9), before[1])


def test_memory_of_a_720p_view_is_the_published_one():
    """2.5 GB and 4.3 GB in bfloat16, counted on shapes."""
    with torch.device("meta"):
        vae = build_vae("wan2_1", dim=96).bfloat16()
        frames, latents = torch.empty(1, 3, 5, 704, 1280), torch.empty(1, 16, 2, 88, 160)
    encoder, decoder = vae.stream_encode(), vae.stream_decode()
    assert encoder(frames).shape == (1, 16, 2, 88, 160)
    assert decoder(latents).shape == frames.shape
    assert (encoder.memory_bytes / 1e9, decoder.memory_bytes / 1e9) == pytest.approx((2.5, 4.3), abs=0.05)


def test_two_streams_in_threads_do_not_disturb_each_other():
    vae = small_vae()
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda x: encoded_in(vae, x, [1, 4, 4]), (video(29)[:, :, :9], -video(29)[:, :, :9]))
    assert torch.equal(one, encoded_in(vae, video(29)[:, :, :9], [1, 4, 4]))
    assert torch.equal(other, encoded_in(vae, -video(29)[:, :, :9], [1, 4, 4]))


def test_chunks_that_do_not_fit_are_refused_before_anything_changes():
    vae = small_vae()
    stream, x = vae.stream_encode(), video(29)
    with pytest.raises(DataError, match="a chunk of 4 frames.*1 \\+ a multiple of 4"):
        stream(x[:, :, :4])
    first = stream(x[:, :, :1])
    with pytest.raises(DataError, match="a chunk of 5 frames.*a multiple of 4"):
        stream(x[:, :, 1:6])
    with pytest.raises(DataError, match="as the first chunk had"):
        stream(x[:, :, 1:5, :16])
    rest = stream(x[:, :, 1:5])
    assert difference(torch.cat((first, rest), dim=2), VECTORS["z_T29"][:, :, :2]) < 2e-5
    with pytest.raises(DataError, match=r"latents of shape \(1, 4, 1, 4, 6\).*\(B, 16, t, h, w\)"):
        vae.stream_decode()(torch.zeros(1, 4, 1, 4, 6))


def test_a_stream_whose_chunk_failed_is_over(monkeypatch: pytest.MonkeyPatch):
    vae = small_vae()
    stream = vae.stream_encode()
    stream(video(5)[:, :, :1])
    with monkeypatch.context() as patch:
        patch.setattr(vae, "moments", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            stream(video(5)[:, :, 1:])
    with pytest.raises(UserError, match="start its stream again"):
        stream(video(5)[:, :, 1:])
