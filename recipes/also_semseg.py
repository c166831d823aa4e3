"""Train semantic segmentation of lidar sweeps on a sparse backbone, from scratch or from pre-trained weights.

``python recipes/also_semseg.py recipe=debug``
``python recipes/also_semseg.py cfg=nuscenes data.path=shards cfg.downstream.skip_ratio=100 model.checkpoint=FILE``
``torchrun --nproc_per_node=8 recipes/also_semseg.py cfg=semantickitti data.path=shards``
"""

from __future__ import annotations

import sys

from cosmos_lidar.families.also.semseg.config import (
    PUBLISHED_KEYS,
    SegmentationLossConfig,
    SemsegDataConfig,
    SemsegModelConfig,
    SemsegTrainConfig,
)
from cosmos_lidar.training.config import LogConfig, OptimConfig, TrainerConfig
from cosmos_lidar.training.family import Family


def nuscenes() -> SemsegTrainConfig:
    """Return the published fine-tuning of MinkUNet34 on nuScenes: 16 classes, 30 epochs of batches of 8."""
    return _published("nuscenes", SemsegModelConfig(), SemsegDataConfig(intensity_scale=255.0))


def semantickitti() -> SemsegTrainConfig:
    """Return that of MinkUNet18SC on SemanticKITTI: 19 classes, 30 epochs of batches of 2."""
    return _published("semantickitti", _dense("semantickitti"), _dense_data())


def semanticposs() -> SemsegTrainConfig:
    """Return that of MinkUNet18SC on SemanticPOSS, as BEVContrast (3DV 2024) has it: 13 classes, batches of 2."""
    return _published("semanticposs", _dense("semanticposs"), _dense_data())


def debug() -> SemsegTrainConfig:
    """Return a run of under a minute on one CPU core: synthetic drives of a small lidar, a network of 0.3 M weights."""
    return SemsegTrainConfig(
        recipe="debug",
        synthetic_drives=4,
        model=SemsegModelConfig(
            backbone="MinkUNet18", width=4, inputs=["pos", "intensities"], voxel_size=0.4, label_map="synth"
        ),
        data=SemsegDataConfig(batch_size=2, workers=0, shuffle=4, points=2048, epochs=0, val_interval=0),
        optim=OptimConfig(lr=1e-2, warmup_steps=5),
        trainer=TrainerConfig(max_steps=30, log_every=1, val_every=15, save_every=10, accelerator="cpu", val_batches=2),
        log=LogConfig(group="also_semseg", name="debug"),
    )


def few_labels() -> SemsegTrainConfig:
    """Return the training of `make demo`: the embedded backbone and a few labels, a minute on two CPU cores."""
    steps = 60
    return SemsegTrainConfig(
        recipe="few_labels",
        model=SemsegModelConfig(
            backbone="MinkUNet18", width=8, inputs=["pos", "intensities"], voxel_size=0.3, label_map="synth",
            checkpoint="small", loss=SegmentationLossConfig(lovasz=0.5),
        ),
        data=SemsegDataConfig(
            batch_size=2, workers=0, shuffle=8, decimation=None, points=12_288, epochs=0, val_interval=0
        ),
        optim=OptimConfig(lr=1e-2, warmup_steps=5),
        trainer=TrainerConfig(
            max_steps=steps, log_every=1, val_every=0, val_at_start=False, save_every=20, keep_last=1,
            accelerator="cpu", val_batches=2,
        ),
        log=LogConfig(group="also_semseg", name="few_labels"),
    )  # fmt: skip


def _published(name: str, model: SemsegModelConfig, data: SemsegDataConfig) -> SemsegTrainConfig:
    """Return a published run: AdamW at 1e-3, annealed to 0, without clipping, fp32, one GPU."""
    return SemsegTrainConfig(
        recipe=name,
        model=model,
        data=data,
        optim=OptimConfig(lr=1e-3, clip_norm=0.0),
        trainer=TrainerConfig(val_batches=0),
        log=LogConfig(group="also_semseg", name=name),
    )


def _dense(label_map: str) -> SemsegModelConfig:
    """Return MinkUNet18SC with positions and intensities, for the lidars of 64 beams and 40."""
    return SemsegModelConfig(
        backbone="MinkUNet18SC", inputs=["pos", "intensities"], voxel_size=0.05, label_map=label_map
    )


def _dense_data() -> SemsegDataConfig:
    return SemsegDataConfig(batch_size=2, decimation=0.05, points=80_000, drop_unlabeled=True)


FAMILY = Family(
    name="also_semseg",
    config=SemsegTrainConfig,
    job="cosmos_lidar.families.also.semseg.job",
    recipes={
        "nuscenes": nuscenes,
        "semantickitti": semantickitti,
        "semanticposs": semanticposs,
        "few_labels": few_labels,
        "debug": debug,
    },
    aliases=PUBLISHED_KEYS,
)
RECIPES, train = FAMILY.recipes, FAMILY.train

if __name__ == "__main__":
    sys.exit(FAMILY.main())
