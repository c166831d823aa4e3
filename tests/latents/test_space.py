from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cosmos_lidar.errors import UserError
from cosmos_lidar.latents.space import open_space
from tests.models.tokenizer.reference import image, small_tokenizer, small_video_tokenizer


def test_latents_are_shifted_and_scaled_and_come_back(tmp_path: Path) -> None:
    network = small_tokenizer()
    mean, std = torch.linspace(-1, 1, 16), torch.linspace(0.5, 2, 16)
    torch.save((mean, std), tmp_path / "mean_std.pt")
    images = torch.cat([image(), -image()])
    plain, scaled = open_space(network, None), open_space(network, tmp_path / "mean_std.pt")
    with torch.no_grad():
        wanted = network.encode(images)
        decoded = network.decode(wanted)
    assert torch.allclose(plain.encode(images), wanted, atol=1e-5)
    assert torch.allclose(scaled.encode(images), (wanted - mean.view(-1, 1, 1)) / std.view(-1, 1, 1), atol=1e-5)
    assert torch.allclose(scaled.decode(scaled.encode(images)), decoded, atol=1e-3)
    assert torch.allclose(plain.decode(wanted), decoded, atol=1e-4)


def test_images_are_clips_of_one_frame_for_a_video_tokenizer() -> None:
    network = small_video_tokenizer("CV8x8x8")
    space = open_space(network, None)
    with torch.no_grad():
        wanted = network.encode(image()[:, :, None])[:, :, 0]
    assert torch.allclose(space.encode(image()), wanted, atol=1e-5)
    assert space.decode(wanted).shape == image().shape


def test_codes_are_no_latents() -> None:
    with pytest.raises(UserError, match="a DI tokenizer gives indices"):
        open_space(small_tokenizer("DI8x8"), None)
