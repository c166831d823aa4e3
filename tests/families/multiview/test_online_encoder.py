from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

pytest.importorskip("megatron.energon")

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.multiview.config import MultiviewDataConfig, VideoVaeConfig
from cosmos_lidar.families.multiview.online_encoder import WindowLatents
from cosmos_lidar.models.wan_vae import build_vae, load_vae
from energon_tasks.multiview import MultiviewBatch


@pytest.fixture
def vae(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    torch.save(build_vae("wan2_1", dim=8).state_dict(), tmp_path / "vae.pth")
    return tmp_path / "vae.pth"


def batch_of(frames: torch.Tensor) -> MultiviewBatch:
    rest = dict.fromkeys(
        ("text", "view_ids", "fps", "padding_mask", "times_s", "poses", "mounts", "lenses", "captions", "cameras",
         "clip_ids", "starts", "noise_seeds", "__key__", "__restore_key__", "__subflavors__", "__sources__")
    )  # fmt: skip
    none = {"sweeps": [None], "sweep_latents": [None], "sweep_content": [[]]}
    return MultiviewBatch(frames=[frames], latents=[None], content=[["left", "front"]], **none, **rest)


def test_views_are_encoded_as_videos_of_their_own_and_found_by_their_content(vae: Path, tmp_path: Path) -> None:
    frames = torch.randint(0, 256, (2, 3, 5, 16, 24), dtype=torch.uint8)
    data = MultiviewDataConfig(vae=VideoVaeConfig(checkpoint=str(vae), cache=str(tmp_path / "cache")))
    encode = WindowLatents(data)
    assert encode.find("left") is None
    batch = encode(batch_of(frames), torch.device("cpu"))
    assert batch.frames == [None]
    wanted = load_vae(vae).encode(frames.float() / 127.5 - 1)
    torch.testing.assert_close(batch.latents[0], wanted, atol=1e-5, rtol=0)
    assert len(pickle.dumps(encode.find)) < 10_000  # goes to worker processes: without the VAE
    torch.testing.assert_close(encode.find("front"), wanted[1], atol=1e-5, rtol=0)
    assert encode(batch, torch.device("cpu")).latents[0] is batch.latents[0]


def test_latents_of_another_width_are_refused(vae: Path) -> None:
    data = MultiviewDataConfig(latent_shape=[8, 8, 88, 160], vae=VideoVaeConfig(checkpoint=str(vae)))
    with pytest.raises(UserError, match="has 16 channels"):
        WindowLatents(data)
