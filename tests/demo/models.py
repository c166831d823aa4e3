"""Tiny models with random weights in place of the embedded ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cosmos_lidar import weights
from cosmos_lidar.models.dit import build_dit
from cosmos_lidar.models.sparse import build_backbone
from cosmos_lidar.models.tokenizer import build_tokenizer
from cosmos_lidar.models.wan_vae import build_vae
from cosmos_lidar.recipes import lidargen, multiview
from cosmos_lidar.sensors import RangeMapFormat, uniform_sensor
from tests.weights.embedded import embed

SENSOR = uniform_sensor(32, 256, 8.0, -24.0, "tiny32", format=RangeMapFormat(1.0, 80.0, 1, 2, 256))


def tiny_tokenizers(patch: pytest.MonkeyPatch, root: Path) -> None:
    """Put in place ``small-lidar-tokenizer`` and ``small-image-tokenizer``."""
    for seed, name in enumerate(("small-lidar-tokenizer", "small-image-tokenizer")):
        torch.manual_seed(seed)
        network = build_tokenizer("CI8x8", channels=32, channels_mult=[1, 1, 1], num_res_blocks=1, z_channels=16)
        embed(patch, root, name, network)


def tiny_lidargen(patch: pytest.MonkeyPatch, root: Path) -> None:
    """Put in place ``small-lidargen``: ray-conditioned, for the latents of 64 x 256 pixels of lidar and images."""
    run = lidargen.small()
    run.model.name = "faditv2_debug"
    network = build_dit(run.model.name, **run.model.shape())
    canvas = {"views": 3, "lidar": [8, 32], "image": [8, 32], "dense": True}
    model = {"name": "faditv2_debug", "objective": "flow", "rays": True, "text": False, "canvas": canvas}
    _embed(patch, root, "small-lidargen", network, {"model": model}, sensor=SENSOR.to_yaml())


def tiny_multiview(patch: pytest.MonkeyPatch, root: Path) -> None:
    """Put in place ``small-multiview`` and its VAE: three cameras, 5 frames of 32 x 48 pixels."""
    run = multiview.debug()
    run.data.latent_shape = [16, 2, 4, 6]
    network = build_dit(run.model.name, **run.shape())
    data = {"latent_shape": run.data.latent_shape, "text_shape": [], "captions": "none", "view_ids": [5, 0, 1]}
    _embed(patch, root, "small-multiview", network, {"model": {"name": run.model.name}, "data": data})
    _embed(patch, root, "small-multiview-vae", build_vae("wan2_1", dim=8), {})


def tiny_backbone(patch: pytest.MonkeyPatch, root: Path) -> None:
    """Put in place ``small-backbone``."""
    network = build_backbone("minkunet18", 4, 32, width=8)
    state = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("classifier.")}
    _embed(patch, root, "small-backbone", state, {})


def _embed(
    patch: pytest.MonkeyPatch,
    root: Path,
    name: str,
    network: nn.Module | Mapping[str, Any],
    run: Mapping[str, Any],
    **more: str,
) -> None:
    folder = root / name
    folder.mkdir(parents=True)
    state = network.state_dict() if isinstance(network, nn.Module) else network
    save_file({key: tensor.contiguous().clone() for key, tensor in state.items()}, folder / weights.FILE)
    facts = {"family": name, "dtype": "float32", "license": "Apache-2.0", "run": run, **more}
    (folder / weights.CONFIG).write_text(json.dumps(facts), encoding="utf-8")
    patch.setattr(weights, "FOLDER", root)
