"""Train camera-to-lidar diffusion on latents of range maps and camera images.

``python recipes/lidargen.py recipe=debug``
``torchrun --nproc_per_node=8 recipes/lidargen.py recipe=text2world_imagetolidar data.path=latents
parallel.data_shard=8``
"""

from __future__ import annotations

import sys

from cosmos_lidar.families.dit.config import DitNoiseConfig
from cosmos_lidar.families.lidargen.config import (
    PUBLISHED_KEYS,
    CanvasConfig,
    LidarGenDataConfig,
    LidarGenModelConfig,
    LidarGenTrainConfig,
)
from cosmos_lidar.training.config import EmaConfig, LogConfig, OptimConfig, ParallelConfig, TrainerConfig
from cosmos_lidar.training.family import Family


def text2world_imagetolidar() -> LidarGenTrainConfig:
    """Return the published training of the 7 B network: bf16, batch 1 per GPU, 2000 steps, all of them warm-up."""
    return LidarGenTrainConfig(
        recipe="text2world_imagetolidar",
        model=LidarGenModelConfig(ema=EmaConfig(enabled=True, kind="power")),
        optim=OptimConfig(lr=2**-14.3, betas=[0.9, 0.99], eps=1e-10, weight_decay=0.1, warmup_steps=2500),
        trainer=TrainerConfig(precision="bf16", max_steps=2000, log_every=10, save_every=600, val_every=600),
        parallel=ParallelConfig(data_shard=8, recompute="full"),
        log=LogConfig(project="posttraining", group="diffusion_text2world", name="text2world_imagetolidar"),
    )


def single_gpu() -> LidarGenTrainConfig:
    """Return a network of 60 M parameters on the published canvas, for one GPU."""
    run = text2world_imagetolidar()
    run.recipe, run.log = "single_gpu", LogConfig(group="diffusion_text2world", name="single_gpu")
    run.model = LidarGenModelConfig(name="faditv2_60m", ema=EmaConfig(enabled=True, kind="power"))
    run.parallel = ParallelConfig(recompute="selective", compile=True)
    run.optim = OptimConfig(lr=3e-4, betas=[0.9, 0.99], weight_decay=0.1, warmup_steps=500)
    run.trainer = TrainerConfig(precision="bf16", max_steps=20_000, log_every=20, save_every=1000, val_every=500)
    return run


def small() -> LidarGenTrainConfig:
    """Return a network of 3 M parameters for latents of small range maps and images, an hour on two CPU cores.

    It is ray-conditioned, leaves unfilled parts of the canvas out of the sequence, and is trained by rectified flow.
    Noise levels are high: there only the images tell where things are. The canvas is that of the latents in
    ``data.path``.
    """
    steps = 7500
    canvas = CanvasConfig(views=3, lidar=[8, 32], image=[8, 32], dense=True)
    return LidarGenTrainConfig(
        recipe="small",
        model=LidarGenModelConfig(
            name="faditv2_3m", objective="flow", rays=True, text=False, canvas=canvas,
            noise=DitNoiseConfig(mean=1.0, std=1.5), ema=EmaConfig(enabled=True, kind="power"),
        ),
        data=LidarGenDataConfig(batch_size=16, workers=0, shuffle=1024, latent_shape=[16, 4, 8, 32]),
        optim=OptimConfig(lr=1e-3, betas=[0.9, 0.99], weight_decay=0.02, warmup_steps=200, decay_until=steps),
        trainer=TrainerConfig(
            precision="bf16", max_steps=steps, log_every=20, val_every=500, save_every=500, accelerator="cpu"
        ),
        log=LogConfig(group="diffusion_text2world", name="small"),
    )  # fmt: skip


def debug() -> LidarGenTrainConfig:
    """Return a run of under a minute on one CPU core: synthetic latents, a network of 0.4 M parameters."""
    trainer = TrainerConfig(max_steps=30, log_every=1, val_every=15, save_every=10, accelerator="cpu", val_batches=2)
    canvas = CanvasConfig(views=2, lidar=[6, 16], image=[8, 10])
    model = LidarGenModelConfig(
        name="faditv2_debug", n_views=3, canvas=canvas, ema=EmaConfig(enabled=True, kind="power")
    )
    return LidarGenTrainConfig(
        recipe="debug",
        synthetic_clips=16,
        model=model,
        data=LidarGenDataConfig(batch_size=2, workers=0, shuffle=4, latent_shape=[16, 3, 8, 16]),
        optim=OptimConfig(lr=2e-3, betas=[0.9, 0.99], warmup_steps=5),
        trainer=trainer,
        log=LogConfig(project="posttraining", group="diffusion_text2world", name="debug"),
    )


FAMILY = Family(
    name="lidargen",
    config=LidarGenTrainConfig,
    job="cosmos_lidar.families.lidargen.job",
    recipes={
        "text2world_imagetolidar": text2world_imagetolidar,
        "single_gpu": single_gpu,
        "small": small,
        "debug": debug,
    },
    aliases=PUBLISHED_KEYS,
)
RECIPES, train = FAMILY.recipes, FAMILY.train

if __name__ == "__main__":
    sys.exit(FAMILY.main())
