"""Pre-train a sparse lidar backbone without labels, by occupancy (ALSO).

``python recipes/also_pretrain.py recipe=debug``
``python recipes/also_pretrain.py cfg=nuscenes data.path=shards cfg.training.batch_size=8``
``torchrun --nproc_per_node=8 recipes/also_pretrain.py cfg=semantickitti data.path=shards``
"""

from __future__ import annotations

import sys
from dataclasses import replace

from cosmos_lidar.families.also.config import (
    PUBLISHED_KEYS,
    AlsoDataConfig,
    AlsoModelConfig,
    AlsoTrainConfig,
    ContrastConfig,
    OccupancyConfig,
)
from cosmos_lidar.training.config import LogConfig, OptimConfig, TrainerConfig
from cosmos_lidar.training.family import Family


def nuscenes() -> AlsoTrainConfig:
    """Return the published pre-training of MinkUNet34 on nuScenes: intensities, 0.1 m, 200 epochs of batches of 16."""
    return _published("nuscenes", AlsoModelConfig(), AlsoDataConfig(epochs=200, intensity_scale=255.0))


def semantickitti() -> AlsoTrainConfig:
    """Return that of MinkUNet18SC on SemanticKITTI: positions and intensities at 0.05 m, 50 epochs of batches of 4."""
    model = AlsoModelConfig(backbone="MinkUNet18SC", inputs=["pos", "intensities"], voxel_size=0.05)
    return _published("semantickitti", model, _dense(batch_size=4, epochs=50))


def kitti3d_second() -> AlsoTrainConfig:
    """Return that of SECOND on KITTI's detection set: 500 epochs of batches of 8."""
    return _published("kitti3d_second", _second(), _dense(epochs=500))


def nuscenes_second_kitti() -> AlsoTrainConfig:
    """Return that of SECOND on nuScenes, for detection on KITTI: 100 epochs of batches of 8.

    The range along z is that of the network, -3 to 1 m. The published -5 to 3 m has twice as many voxels as its grid.
    """
    return _published("nuscenes_second_kitti", _second(), _dense(epochs=100, intensity_scale=255.0))


def kitti360_second() -> AlsoTrainConfig:
    """Return that of SECOND on KITTI-360: 75 epochs of batches of 8."""
    return _published("kitti360_second", _second(), _dense(epochs=75))


def once_raw_small_second() -> AlsoTrainConfig:
    """Return that of SECOND on the 100 k raw sweeps of ONCE: voxels of 0.1 x 0.1 x 0.2 m, 40 epochs of batches of 8."""
    model = replace(_second(), voxel_size=[0.1, 0.1, 0.2], spatial_extent=[-75.2, -75.2, -5.0, 75.2, 75.2, 3.0])
    return _published("once_raw_small_second", model, _dense(epochs=40, intensity_scale=255.0))


def bevcontrast_nuscenes() -> AlsoTrainConfig:
    """Return BEVContrast on nuScenes: keyframes 1 s apart, cells of 0.6 m, 50 epochs of 24 pairs; no occupancy.

    ``model.loss.occupancy=1 model.loss.intensity=1`` adds ALSO's.
    """
    return _contrast("bevcontrast_nuscenes", AlsoModelConfig(), batch_size=24, intensity_scale=255.0)


def bevcontrast_semantickitti() -> AlsoTrainConfig:
    """Return BEVContrast on SemanticKITTI: scans 0.7 s apart, cells of 0.2 m, 50 epochs of 10 pairs; no occupancy."""
    model = AlsoModelConfig(
        backbone="MinkUNet18",
        inputs=["pos", "intensities"],
        voxel_size=0.05,
        contrast=ContrastConfig(gap=7, stride=4),
    )
    return _contrast("bevcontrast_semantickitti", model, batch_size=10)


def _contrast(name: str, model: AlsoModelConfig, batch_size: int, intensity_scale: float = 1.0) -> AlsoTrainConfig:
    """Return a published run of BEVContrast: warm-up over 5 % of the steps, then a cosine from 1e-3 to 1e-5."""
    data = AlsoDataConfig(
        batch_size=batch_size, epochs=50, warmup_epochs=2.5, intensity_scale=intensity_scale, decimation=None,
        points=200_000, flip=False,
    )  # fmt: skip
    loss, contrast = OccupancyConfig(occupancy=0.0, intensity=0.0), replace(model.contrast, weight=1.0)
    run = _published(name, replace(model, loss=loss, contrast=contrast), data)
    run.optim = OptimConfig(lr=1e-3, weight_decay=1e-3, clip_norm=0.0, decay_to=0.01)
    return run


def debug() -> AlsoTrainConfig:
    """Return a run of under a minute on one CPU core: synthetic drives of a small lidar, a small MinkUNet18."""
    return AlsoTrainConfig(
        recipe="debug",
        synthetic_drives=4,
        model=AlsoModelConfig(
            backbone="MinkUNet18", width=4, inputs=["pos", "intensities"], voxel_size=0.4, latent_size=16, radius=2.0
        ),
        data=AlsoDataConfig(batch_size=2, workers=0, shuffle=4, points=2048, queries=300, query_distance=0.5),
        optim=OptimConfig(lr=1e-2, warmup_steps=5),
        trainer=TrainerConfig(max_steps=30, log_every=1, val_every=15, save_every=10, accelerator="cpu", val_batches=2),
        log=LogConfig(group="also", name="debug"),
    )


def _published(name: str, model: AlsoModelConfig, data: AlsoDataConfig) -> AlsoTrainConfig:
    """Return a published run: AdamW with a constant learning rate of 1e-3, without clipping, fp32, one GPU."""
    return AlsoTrainConfig(
        recipe=name,
        model=model,
        data=replace(data, val_interval=5),
        optim=OptimConfig(lr=1e-3, clip_norm=0.0),
        log=LogConfig(group="also", name=name),
    )


def _dense(**options: float) -> AlsoDataConfig:
    """Return what all runs but that of nuScenes have in common: cells of 0.05 m, 80,000 points, 4,096 queries."""
    return replace(AlsoDataConfig(batch_size=8, decimation=0.05, points=80_000, queries=4096), **options)


def _second() -> AlsoModelConfig:
    """Return SECOND with positions and intensities, on KITTI's range."""
    return AlsoModelConfig(
        backbone="SECOND",
        inputs=["pos", "intensities"],
        voxel_size=[0.05, 0.05, 0.1],
        spatial_extent=[0.0, -40.0, -3.0, 70.4, 40.0, 1.0],
    )


FAMILY = Family(
    name="also_pretrain",
    config=AlsoTrainConfig,
    job="cosmos_lidar.families.also.job",
    recipes={
        "nuscenes": nuscenes,
        "semantickitti": semantickitti,
        "kitti3d_second": kitti3d_second,
        "nuscenes_second_kitti": nuscenes_second_kitti,
        "kitti360_second": kitti360_second,
        "once_raw_small_second": once_raw_small_second,
        "bevcontrast_nuscenes": bevcontrast_nuscenes,
        "bevcontrast_semantickitti": bevcontrast_semantickitti,
        "debug": debug,
    },
    aliases=PUBLISHED_KEYS,
)
RECIPES, train = FAMILY.recipes, FAMILY.train

if __name__ == "__main__":
    sys.exit(FAMILY.main())
