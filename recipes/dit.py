"""Train a diffusion transformer on encoded latents.

``python recipes/dit.py recipe=debug``
``torchrun --nproc_per_node=8 recipes/dit.py recipe=faditv2_7b data.path=latents parallel.data_shard=8``
"""

from __future__ import annotations

import sys

from cosmos_lidar.families.dit.config import DitDataConfig, DitModelConfig, DitTrainConfig
from cosmos_lidar.training.config import EmaConfig, LogConfig, OptimConfig, ParallelConfig, TrainerConfig
from cosmos_lidar.training.family import Family


def faditv2_7b() -> DitTrainConfig:
    """Return the published shape of 7 B parameters in bf16, sharded over 8 GPUs."""
    return DitTrainConfig(
        recipe="faditv2_7b",
        model=DitModelConfig(name="faditv2_7b", ema=EmaConfig(enabled=True, kind="power")),
        data=DitDataConfig(text_shape=[2048, 1024]),
        optim=OptimConfig(lr=2**-14.5, betas=[0.9, 0.99], weight_decay=0.1, warmup_steps=1000),
        trainer=TrainerConfig(precision="bf16", log_every=100, val_every=500, save_every=1000, export=False),
        parallel=ParallelConfig(data_shard=8, recompute="selective", compile=True),
        log=LogConfig(project="posttraining", group="diffusion", name="faditv2_7b"),
    )


def debug() -> DitTrainConfig:
    """Return a run of under a minute on one CPU core: synthetic latents, a network of 0.6 M parameters."""
    trainer = TrainerConfig(
        max_steps=30, log_every=1, val_every=15, save_every=10, accelerator="cpu", val_batches=2, export=False
    )
    return DitTrainConfig(
        recipe="debug",
        synthetic_clips=16,
        model=DitModelConfig(name="faditv2_debug", n_views=2, ema=EmaConfig(enabled=True, kind="power")),
        data=DitDataConfig(batch_size=2, workers=0, shuffle=4, latent_shape=[16, 2, 8, 16], text_shape=[8, 64]),
        optim=OptimConfig(lr=2e-3, betas=[0.9, 0.99], warmup_steps=5),
        trainer=trainer,
        log=LogConfig(project="posttraining", group="diffusion", name="debug"),
    )


FAMILY = Family(
    name="dit",
    config=DitTrainConfig,
    job="cosmos_lidar.families.dit.job",
    recipes={"faditv2_7b": faditv2_7b, "debug": debug},
    aliases={"data.shuffle_buffer": "data.shuffle"},
)
RECIPES, train = FAMILY.recipes, FAMILY.train

if __name__ == "__main__":
    sys.exit(FAMILY.main())
