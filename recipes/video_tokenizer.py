"""Post-train an image or video tokenizer of the Cosmos family.

``python recipes/video_tokenizer.py recipe=debug``
``torchrun --nproc-per-node 8 recipes/video_tokenizer.py --yes data.path=$DATA model.jit_ckpt_pth=$CKPT
model.model="Cosmos-1.0-Tokenizer-CV8x8x8"``
"""

from __future__ import annotations

import sys

from cosmos_lidar.families.video_tokenizer.config import (
    PUBLISHED_KEYS,
    VideoDataConfig,
    VideoLossConfig,
    VideoModelConfig,
    VideoTokenizerTrainConfig,
)
from cosmos_lidar.training.config import EmaConfig, LogConfig, OptimConfig, TrainerConfig
from cosmos_lidar.training.family import Family


def cv8x8x8() -> VideoTokenizerTrainConfig:
    """Return the published post-training of CV8x8x8: 33 frames of 256 x 256 per GPU, lr 1e-4, bf16 compute."""
    return VideoTokenizerTrainConfig(
        recipe="cv8x8x8",
        optim=OptimConfig(lr=1e-4, betas=[0.5, 0.999], warmup_steps=500, decay_biases=False),
        trainer=TrainerConfig(
            precision="bf16", max_steps=10_000, log_every=1, val_every=100, val_batches=1, save_every=100
        ),
        log=_log("Cosmos-Tokenizer-CV8x8x8"),
    )


def dv8x16x16() -> VideoTokenizerTrainConfig:
    """Return the same for the discrete DV8x16x16."""
    run = cv8x8x8()
    run.recipe, run.log = "dv8x16x16", _log("Cosmos-Tokenizer-DV8x16x16")
    run.model = VideoModelConfig(model="Cosmos-1.0-Tokenizer-DV8x16x16")
    return run


def debug() -> VideoTokenizerTrainConfig:
    """Return a run of under a minute on one CPU core: videos of synthetic drives, a small network."""
    trainer = TrainerConfig(max_steps=30, log_every=1, val_every=15, save_every=10, accelerator="cpu", val_batches=2)
    return VideoTokenizerTrainConfig(
        recipe="debug",
        synthetic_videos=4,
        model=VideoModelConfig(
            model="CV4x8x8", channels=32, channels_mult=[1, 2], num_res_blocks=1,
            loss=VideoLossConfig(perceptual=0.0), ema=EmaConfig(enabled=True, decay=0.9),
        ),
        data=VideoDataConfig(frames=5, size=64, workers=0, shuffle=2),
        optim=OptimConfig(lr=1e-3, betas=[0.5, 0.999], warmup_steps=5),
        trainer=trainer,
        log=LogConfig(name="debug", group="video_tokenizer"),
    )  # fmt: skip


def _log(name: str) -> LogConfig:
    """Return where results go; with wandb where its key is set, as the published recipe does."""
    return LogConfig(group="video_tokenizer", name=name, wandb="auto")


FAMILY = Family(
    name="video_tokenizer",
    config=VideoTokenizerTrainConfig,
    job="cosmos_lidar.families.video_tokenizer.job",
    recipes={"cv8x8x8": cv8x8x8, "dv8x16x16": dv8x16x16, "debug": debug},
    aliases=PUBLISHED_KEYS,
)
RECIPES, train = FAMILY.recipes, FAMILY.train

if __name__ == "__main__":
    sys.exit(FAMILY.main())
