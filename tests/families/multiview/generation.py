"""A trained network, a VAE and shards of five cameras, small enough to generate from in a test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from cosmos_lidar.families.multiview.config import MultiviewTrainConfig
from cosmos_lidar.models.wan_vae import build_vae
from cosmos_lidar.recipes import multiview
from cosmos_lidar.shards.multiview_writer import MultiviewOptions, write_multiview
from cosmos_lidar.shards.plan import PrepareOptions
from cosmos_lidar.training.overrides import load_config
from tests.families.multiview.runs import some_run
from tests.shards.cameras import camera_clip

SIZE, FRAMES, VIEWS = (32, 48), 5, (5, 0, 1)


@dataclass(frozen=True)
class Trained:
    """Files of a run."""

    shards: Path
    vae: Path
    run: Path
    checkpoint: Path

    @property
    def config(self) -> MultiviewTrainConfig:
        return load_config(MultiviewTrainConfig, self.run / "config.yaml")


def train_some(folder: Path) -> Trained:
    """Train two steps on videos of three of five cameras."""
    clips = [camera_clip(f"clip{number}", frames=FRAMES, size=SIZE) for number in range(3)]
    write_multiview(clips, folder / "shards", MultiviewOptions(), PrepareOptions(split=(0.4, 0.6)))
    torch.manual_seed(0)
    torch.save(build_vae("wan2_1", dim=8).state_dict(), folder / "vae.pth")
    options = [
        "synthetic_clips=0", f"data.path={folder / 'shards'}", f"data.vae.checkpoint={folder / 'vae.pth'}",
        f"data.view_ids={list(VIEWS)}".replace(" ", ""), "data.latent_shape=[16,2,4,6]", "data.captions=none",
        "data.batch_size=1", "trainer.max_steps=2", "optim.lr=0.01",
    ]  # fmt: skip
    run = multiview.train(some_run(folder, "run", *options)).folder
    file = run / "checkpoints" / "published" / "model" / "iter_000000002.pt"
    return Trained(folder / "shards", folder / "vae.pth", run, file)
