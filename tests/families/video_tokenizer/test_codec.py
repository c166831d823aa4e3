"""Videos of any size and length through a tokenizer: exact shapes, chunks, tiles, and input that cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cosmos_lidar.clips.video import VideoFile
from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.video_tokenizer.codec import EncodedVideo, VideoCodec, from_uint8, to_uint8
from cosmos_lidar.models.tokenizer import build_tokenizer


def small(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_tokenizer(name, channels=32, num_res_blocks=1)


def noise(frames: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, channels), dtype=np.uint8)


def decoded(codec: VideoCodec, encoded: EncodedVideo) -> np.ndarray:
    return np.concatenate(list(codec.decode(encoded)))


@pytest.mark.parametrize("name", ["CV4x8x8", "DV4x8x8", "CI8x8", "DI8x8", "CV8x16x16"])
@pytest.mark.parametrize("shape", [(1, 16, 16), (6, 33, 47), (17, 20, 18)])
def test_any_size_comes_back_as_it_was(name: str, shape: tuple[int, int, int]):
    codec = VideoCodec(small(name), chunk=2)
    encoded = codec.encode(noise(*shape))
    assert (encoded.frames, encoded.height, encoded.width) == shape
    assert (encoded.latents is None) == name.startswith("D")
    found = decoded(codec, encoded)
    assert found.shape == (*shape, 3)
    assert found.dtype == np.uint8


@pytest.mark.parametrize("chunk", [1, 2, 3, 9])
def test_chunks_and_blocks_of_any_length_give_the_same(chunk: int):
    frames = noise(22, 24, 32)
    network = small("CV4x8x8").double()
    codec = VideoCodec(network, dtype=torch.float64, chunk=chunk)
    whole = np.concatenate([frames, np.repeat(frames[-1:], 3, axis=0)])
    with torch.no_grad():
        z = network.encode(from_uint8(whole, torch.float64)[None])
        images = to_uint8(network.decode(z)[0])
    for blocks in (frames, iter([frames[:1], frames[1:20], frames[20:]]), (frames[n : n + 1] for n in range(22))):
        encoded = codec.encode(blocks)
        assert torch.allclose(encoded.latents, z[0], atol=1e-12)
        assert np.array_equal(decoded(codec, encoded), images[:22])


def test_edges_are_repeated_around_the_image():
    codec = VideoCodec(small("CI8x8"))
    encoded = codec.encode(noise(1, 33, 47))
    assert encoded.crop == (0, 3, 0, 1, 36, 47)
    padded = np.pad(noise(1, 33, 47), ((0, 0), (3, 4), (0, 1), (0, 0)), mode="edge")
    with torch.no_grad():
        expected = codec.network.encode(from_uint8(padded, torch.float32).transpose(0, 1))
    assert torch.equal(encoded.latents, expected.transpose(0, 1))


def test_bytes_to_numbers_and_back():
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    for dtype in (torch.float32, torch.bfloat16):
        assert np.array_equal(to_uint8(from_uint8(every, dtype)), every)
    assert from_uint8(every, torch.float32).min() == -1
    assert to_uint8(torch.full((3, 1, 1, 1), 7.0)).max() == 255
    gray, alpha = noise(2, 16, 16, 1), noise(2, 16, 16, 4)
    codec = VideoCodec(small("CI8x8"))
    assert torch.equal(codec.encode(gray[..., 0]).latents, codec.encode(gray.repeat(3, axis=3)).latents)
    assert torch.equal(codec.encode(alpha).latents, codec.encode(alpha[..., :3]).latents)


@pytest.mark.parametrize("name", ["CV4x8x8", "DV4x8x8", "CI8x8"])
def test_tiles_of_real_images_are_close_to_the_whole(name: str, test_data: Path):
    video = VideoFile(test_data / "video" / "solidWhiteRight.mp4")
    frames = np.stack([video(index)[200:392, 300:556] for index in range(5)])
    whole, tiled = VideoCodec(small(name)), VideoCodec(small(name), tile=128)
    ours, theirs = tiled.encode(frames), whole.encode(frames)
    if ours.latents is not None:
        spread = theirs.latents.std()
        assert (ours.latents - theirs.latents).abs().mean() < 0.5 * spread
    expected = decoded(whole, theirs).astype(float)
    found = decoded(tiled, theirs).astype(float)
    assert found.shape == frames.shape
    # norms see one tile, and these weights are random: the same image, not the same numbers
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.8


def test_a_tile_that_holds_the_image_is_the_whole():
    frames = noise(5, 64, 64)
    whole, tiled = VideoCodec(small("CV4x8x8")), VideoCodec(small("CV4x8x8"), tile=64)
    assert torch.equal(whole.encode(frames).latents, tiled.encode(frames).latents)


def test_what_cannot_be_encoded():
    codec = VideoCodec(small("CV4x8x8"))
    with pytest.raises(DataError, match="no frames"):
        codec.encode(iter([]))
    with pytest.raises(DataError, match="frames of type float32"):
        codec.encode(np.zeros((1, 16, 16, 3), np.float32))
    with pytest.raises(DataError, match=r"frames of shape \(1, 16, 16, 2\)"):
        codec.encode(np.zeros((1, 16, 16, 2), np.uint8))
    with pytest.raises(DataError, match=r"frames of 16 x 24.*16 x 16, as the first ones"):
        codec.encode(iter([noise(1, 16, 16), noise(1, 16, 24)]))
    with pytest.raises(UserError, match="chunk 0"):
        VideoCodec(small("CV4x8x8"), chunk=0)
    with pytest.raises(UserError, match="tile 32: at least 1, and at least 64 pixels"):
        VideoCodec(small("CV4x8x8"), tile=32)


def test_what_cannot_be_decoded():
    continuous, discrete = VideoCodec(small("CV4x8x8")), VideoCodec(small("DV4x8x8"))
    z, codes = continuous.encode(noise(5, 16, 16)), discrete.encode(noise(5, 16, 16))
    with pytest.raises(DataError, match=r"indices.*latents of 16, for a CV tokenizer"):
        decoded(continuous, codes)
    with pytest.raises(DataError, match=r"continuous latents.*indices, for a DV tokenizer"):
        decoded(discrete, z)
    wrong = EncodedVideo(z.latents[:4], None, 5, 16, 16, z.crop)
    with pytest.raises(DataError, match="latents of 4 channels"):
        decoded(continuous, wrong)
    broken = EncodedVideo(None, codes.indices.clone().fill_(64000), 5, 16, 16, codes.crop)
    with pytest.raises(DataError, match=r"indices from 64000 to 64000.*0 to 63999"):
        decoded(discrete, broken)
    short = EncodedVideo(z.latents[:, :1], None, 5, 16, 16, z.crop)
    with pytest.raises(DataError, match=r"latents of \(1, 16, 16\) frames, rows, columns.*crop \(0, 0, 0, 5, 16, 16\)"):
        decoded(continuous, short)
    for crop in ((0, 0, 0, 5, 17, 16), (0, 0, -1, 5, 16, 16), (0, 8, 0, 5, 8, 16)):
        with pytest.raises(DataError, match="latents of"):
            decoded(continuous, EncodedVideo(z.latents, None, 5, 16, 16, crop))


def test_one_image_is_not_a_video_of_grey_ones():
    codec = VideoCodec(small("CV4x8x8"))
    with pytest.raises(DataError, match=r"frames of shape \(16, 24, 3\)"):
        codec.encode(noise(1, 16, 24)[0])
    with pytest.raises(UserError, match="window 0: at least 1 latent frame"):
        VideoCodec(small("CV4x8x8"), window=0)
