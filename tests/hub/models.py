"""Small networks of every family, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.sparse import build_backbone
from cosmos_lidar.models.tokenizer import build_tokenizer
from cosmos_lidar.models.wan_vae import build_vae

_TINY: dict[str, Any] = {"model_channels": 48, "num_heads": 2, "num_blocks": 1, "adaln_lora_dim": 4}

NETWORKS: dict[str, tuple[str, Callable[[], nn.Module]]] = {  # what -> (family, its network)
    "lidar tokenizer": ("lidar_tokenizer", lambda: build_tokenizer("CI8x8", channels=32, num_res_blocks=1)),
    "video tokenizer": ("video_tokenizer", lambda: build_tokenizer("CV4x8x8", channels=8, num_res_blocks=1)),
    "transformer": ("dit", lambda: build_dit("predict2_2b_video2world", **_TINY, rope_h_extrapolation_ratio=2.5)),
    "camera to lidar": ("lidargen", lambda: build_dit("faditv2_debug", n_views=2)),
    "multi-view": ("multiview", lambda: build_dit("predict2_debug_multiview", **_TINY)),
    "video VAE": ("multiview", lambda: build_vae("wan2_1", dim=4)),
    "backbone": ("also", lambda: build_backbone("minkunet18", 4, 3, width=8)),
}


def make(what: str) -> tuple[str, nn.Module]:
    """Return family and network, with random weights in every layer."""
    torch.manual_seed(0)
    family, build = NETWORKS[what]
    network = build().eval()
    for parameter in network.parameters():
        parameter.data = torch.randn_like(parameter) * 0.1
    return family, network


def same(one: nn.Module, other: nn.Module) -> bool:
    """Return whether two networks have the same tensors under the same names."""
    mine, theirs = one.state_dict(), other.state_dict()
    return list(mine) == list(theirs) and all(torch.equal(value, theirs[name]) for name, value in mine.items())
