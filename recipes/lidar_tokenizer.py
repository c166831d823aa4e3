"""Train the lidar tokenizer.

``python recipes/lidar_tokenizer.py recipe=debug``
``torchrun --nproc_per_node=8 recipes/lidar_tokenizer.py data.path=shards model.checkpoint=CI8x8 optim.lr=2e-5``
"""

from __future__ import annotations

import sys
from dataclasses import replace

from cosmos_lidar.families.lidar_tokenizer.config import (
    PUBLISHED_KEYS,
    DataConfig,
    LidarTokenizerTrainConfig,
    LossConfig,
    ModelConfig,
)
from cosmos_lidar.training.config import EmaConfig, LogConfig, OptimConfig, TrainerConfig
from cosmos_lidar.training.family import Family


def ci8x8_512() -> LidarTokenizerTrainConfig:
    """Return the published fine-tuning: 10 frames of 512 x 896 per step and GPU, fp32, lr 4e-5, 10,000 steps."""
    return LidarTokenizerTrainConfig(
        recipe="ci8x8_512",
        model=ModelConfig(name="CI8x8", resolution=512),
        optim=OptimConfig(lr=4e-5, betas=[0.5, 0.999], warmup_steps=5000),
        trainer=TrainerConfig(max_steps=10_000, log_every=100, val_every=500, save_every=2000),
        log=LogConfig(group="tokenizer", name="Cosmos-LidarTokenizer-CI8x8"),
    )


def cv4x8x8_lidar() -> LidarTokenizerTrainConfig:
    """Return the training of a tokenizer over time: 9 sweeps in a row of 512 x 448, compressed 4 x 8 x 8.

    The shards need runs of at least 9 frames: ``cosmos-lidar prepare --frames-per-sample 9`` or more.
    """
    run = ci8x8_512()
    return replace(
        run,
        recipe="cv4x8x8_lidar",
        model=ModelConfig(name="CV4x8x8"),
        data=DataConfig(batch_size=1, sequence=9, crop_columns=448, val_batch_size=1),
        trainer=replace(run.trainer, precision="bf16"),
        log=replace(run.log, name="Cosmos-LidarTokenizer-CV4x8x8"),
    )


def debug() -> LidarTokenizerTrainConfig:
    """Return a run of under a minute on one CPU core: two synthetic drives of a small sensor, a small network."""
    trainer = TrainerConfig(max_steps=30, log_every=1, val_every=15, save_every=10, accelerator="cpu", val_batches=2)
    return replace(
        ci8x8_512(),
        recipe="debug",
        synthetic_drives=3,
        model=ModelConfig(
            channels=32, channels_mult=[1, 2, 2], num_res_blocks=1, resolution=64, loss=LossConfig(perceptual=0.0)
        ),
        data=DataConfig(batch_size=2, crop_columns=64, val_batch_size=2, workers=0, frames_per_clip=1, shuffle_runs=4),
        optim=OptimConfig(lr=1e-3, betas=[0.5, 0.999], warmup_steps=5),
        trainer=trainer,
        log=LogConfig(group="tokenizer", name="debug"),
    )


def demo() -> LidarTokenizerTrainConfig:
    """Return a training from scratch in minutes on two CPU cores: a 3.6 M network."""
    steps = 700
    loss, ema = LossConfig(perceptual=0.0, masked=True), EmaConfig(enabled=True, decay=0.98)
    model = ModelConfig(channels=64, channels_mult=[1, 2, 2], num_res_blocks=1, loss=loss, ema=ema)
    data = DataConfig(batch_size=2, crop_columns=256, val_batch_size=4, workers=0, frames_per_clip=2, shuffle_runs=8)
    trainer = TrainerConfig(
        max_steps=steps, log_every=5, val_every=140, val_batches=4, save_every=350, keep_last=2, accelerator="cpu"
    )
    return replace(
        ci8x8_512(),
        recipe="demo",
        model=model,
        data=data,
        optim=OptimConfig(lr=1e-3, betas=[0.9, 0.99], warmup_steps=50, decay_until=steps),
        trainer=trainer,
        log=LogConfig(group="tokenizer", name="demo"),
    )


def post_training() -> LidarTokenizerTrainConfig:
    """Return the training of `make demo`: the embedded tokenizer on other drives, minutes on two CPU cores."""
    run, steps = demo(), 240
    return replace(
        run,
        recipe="post_training",
        # ranges alone: the expected error is far off on other drives at first, and its gradients hide all others
        model=ModelConfig(checkpoint="small", loss=replace(run.model.loss, validity=0.0, scale=0.0), ema=run.model.ema),
        optim=OptimConfig(lr=1e-5, betas=[0.9, 0.99], warmup_steps=20, decay_until=steps),
        trainer=replace(run.trainer, max_steps=steps, val_every=steps // 3, save_every=steps // 3),
        log=LogConfig(group="tokenizer", name="post_training"),
    )


FAMILY = Family(
    name="lidar_tokenizer",
    config=LidarTokenizerTrainConfig,
    job="cosmos_lidar.families.lidar_tokenizer.job",
    recipes={
        "ci8x8_512": ci8x8_512,
        "cv4x8x8_lidar": cv4x8x8_lidar,
        "debug": debug,
        "demo": demo,
        "post_training": post_training,
    },
    aliases=PUBLISHED_KEYS,
)
RECIPES, train = FAMILY.recipes, FAMILY.train

if __name__ == "__main__":
    sys.exit(FAMILY.main())
