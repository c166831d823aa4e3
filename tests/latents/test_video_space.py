"""Clips of several cameras to latents: each view is encoded once, and again where anything changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cosmos_lidar.errors import DataError
from cosmos_lidar.latents.cache import LatentCache
from cosmos_lidar.latents.video_space import (
    VideoEncoding,
    VideoLatentSpace,
    full_precision,
    open_video_space,
    view_hash,
)
from cosmos_lidar.models.wan_vae import build_vae
from tests.models.wan_vae.reference import VECTORS, difference, small_vae, video


def clip(views: int = 3, frames: int = 5, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (views, 3, frames, 16, 24), generator=generator, dtype=torch.uint8)


class Counted(VideoLatentSpace):
    """Notes which views are encoded."""

    encoded: list[int]

    def _encode(self, videos: Tensor, numbers: list[int]) -> dict[int, Tensor]:
        self.encoded = list(numbers)
        return super()._encode(videos, numbers)


def space(folder: Path, **changes: object) -> Counted:
    return Counted(changes.pop("vae", None) or small_vae(), LatentCache(folder), VideoEncoding(**changes))


def test_views_lie_one_after_the_other_along_time():
    vae, videos = small_vae(), torch.cat((video(5), video(29)[:, :, :5]))
    z = VideoLatentSpace(vae).encode(videos)
    assert z.shape == (16, 2 * 2, 4, 6)
    assert (z.dtype, z.device.type) == (torch.float32, "cpu")
    assert difference(z[:, :2], VECTORS["z_T5"][0]) < 2e-5
    assert difference(z[:, 2:], VECTORS["z_T29"][0, :, :2]) < 2e-5
    (z * torch.ones(1, requires_grad=True)).sum().backward()  # can be trained on
    made = VideoLatentSpace(vae).decode(z, views=2)
    assert difference(made, vae.decode(torch.stack((z[:, :2], z[:, 2:])))) < 1e-5


def test_bytes_are_the_colors_that_they_stand_for():
    videos = clip(1, 1)
    floating = videos.float() / 127.5 - 1
    assert difference(VideoLatentSpace(small_vae()).encode(videos), small_vae().encode(floating)[0]) < 1e-5
    assert difference(VideoLatentSpace(small_vae()).encode(floating), small_vae().encode(floating)[0]) < 1e-5


def test_the_second_encoding_reads_the_cache(tmp_path: Path):
    first = space(tmp_path)
    wanted = first.encode(clip())
    assert first.encoded == [0, 1, 2]
    assert (first.cache.hits, first.cache.misses) == (0, 3)
    again = space(tmp_path)  # another process: the weights are the same
    assert torch.equal(again.encode(clip()), wanted)
    assert again.encoded == []
    assert again.cache.hits == 3
    assert torch.equal(VideoLatentSpace(small_vae()).encode(clip()), wanted)


def test_only_views_that_changed_are_encoded_again(tmp_path: Path):
    one = space(tmp_path)
    wanted = one.encode(clip())
    changed = clip()
    changed[1, 2, 4, 7, 7] ^= 1
    found = one.encode(changed)
    assert one.encoded == [1]
    assert not torch.equal(found[:, 2:4], wanted[:, 2:4])
    assert torch.equal(found[:, :2], wanted[:, :2])
    swapped = one.encode(clip()[[2, 0]])
    assert one.encoded == []
    assert torch.equal(swapped, torch.cat((wanted[:, 4:], wanted[:, :2]), dim=1))
    one.encode(clip()[:, :, :1])
    assert one.encoded == [0, 1, 2]  # fewer frames are another video


def test_other_weights_and_settings_that_change_latents_make_other_entries(tmp_path: Path):
    space(tmp_path).encode(clip(1))
    changed = small_vae()
    changed.encoder.head["2"].bias[0] += 1e-3
    others = {
        "weights": space(tmp_path, vae=changed),
        "statistics": space(tmp_path, vae=small_vae(latent_mean=(0.0,) * 16)),
        "dtype": space(tmp_path, vae=small_vae(torch.bfloat16)),
        "tile": space(tmp_path, tile=16),
        "overlap": space(tmp_path, tile=16, overlap=8),
    }
    for name, other in others.items():
        other.encode(clip(1))
        assert other.encoded == [0], name
    same = space(tmp_path, window=None, batch=7, trim=True)
    same.encode(clip(1))
    assert same.encoded == []


def test_views_are_encoded_in_batches(tmp_path: Path):
    wanted = VideoLatentSpace(small_vae()).encode(clip())
    for batch in (2, 5):
        assert difference(VideoLatentSpace(small_vae(), None, VideoEncoding(batch=batch)).encode(clip()), wanted) < 1e-5


def test_hashes_that_are_known_are_used(tmp_path: Path):
    one = space(tmp_path)
    one.encode(clip(2))
    one.encode(torch.zeros_like(clip(2)), hashes=[view_hash(view) for view in clip(2)])
    assert one.encoded == []
    with pytest.raises(DataError, match="1 hashes of 2 views.*one of each view"):
        one.encode(clip(2), hashes=["a"])


def test_hash_of_a_view_is_that_of_its_images():
    (view,) = clip(1)
    from cosmos_lidar.latents.cache import frames_hash

    images = [np.ascontiguousarray(view[:, t].numpy())[None] for t in range(view.shape[1])]
    assert view_hash(view) == frames_hash(iter(images))


def test_trimmed_frames_are_counted(tmp_path: Path):
    videos = clip(2, 7)
    with pytest.raises(DataError, match="a video of 7 frames"):
        space(tmp_path).encode(videos)
    one = space(tmp_path, trim=True)
    z = one.encode(videos)
    assert one.trimmed_frames == 2 * 2
    assert torch.equal(z, one.encode(videos[:, :, :5]))
    assert one.encoded == []  # the entry of the frames that were used
    assert one.trimmed_frames == 2 * 2


def test_a_file_of_weights_gives_the_same_latents(tmp_path: Path):
    torch.save(small_vae().state_dict(), tmp_path / "tokenizer.pth")
    opened = open_video_space(tmp_path / "tokenizer.pth", dim=8, cache=tmp_path / "cache")
    wanted = space(tmp_path / "cache").encode(clip(1))
    assert torch.equal(opened.encode(clip(1)), wanted)
    assert opened.cache.hits == 1
    with pytest.raises(DataError, match="a VAE of width 8.*width 96"):
        open_video_space(tmp_path / "tokenizer.pth", dim=96)


def test_shapes_that_do_not_fit(tmp_path: Path):
    plain = VideoLatentSpace(build_vae(dim=2))
    with pytest.raises(DataError, match=r"\(V, 3, T, H, W\)"):
        plain.encode(clip()[0])
    for wrong in (clip()[:0], clip()[..., :20], clip()[:, :2], clip().int()):
        with pytest.raises(DataError, match=r"\(V, 3, T, H, W\)|\(B, 3, T, H, W\)|floating-point"):
            plain.encode(wrong)
    with pytest.raises(DataError, match=r"latents of shape \(16, 5, 2, 2\).*\(16, 2 t, h, w\), of 2 views"):
        plain.decode(torch.zeros(16, 5, 2, 2), views=2)


def test_convolutions_of_a_gpu_are_in_full_precision_inside_the_block():
    conv = torch.backends.cudnn.conv
    before = conv.fp32_precision
    with full_precision(torch.device("cuda")):
        assert conv.fp32_precision == "ieee"
    assert conv.fp32_precision == before
    for unchanged in (full_precision(torch.device("cpu")), full_precision(torch.device("cuda"), tf32=True)):
        with unchanged:
            assert conv.fp32_precision == before
