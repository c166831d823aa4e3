"""Train multi-view video diffusion: several cameras of a vehicle, generated together.

``python recipes/multiview.py recipe=debug``
``torchrun --nproc_per_node=8 recipes/multiview.py recipe=predict2_multiview_2b_720p_10fps_7views_29frames_waymo5views
data.path=shards data.vae.checkpoint=tokenizer.pth data.vae.cache=latents model.checkpoint=model.pt``
"""

from __future__ import annotations

import sys

from cosmos_lidar.families.dit.config import LoraConfig
from cosmos_lidar.families.multiview.config import (
    PUBLISHED_KEYS,
    MultiviewDataConfig,
    MultiviewModelConfig,
    MultiviewTrainConfig,
)
from cosmos_lidar.training.config import EmaConfig, LogConfig, OptimConfig, ParallelConfig, TrainerConfig
from cosmos_lidar.training.family import Family

_PEAK_LR = 0.25 * 2**-14.5
_RUN = "2b_{}_10fps_7views_29frames_waymo5views"
_720P, _480P = [16, 8, 88, 160], [16, 8, 60, 106]


def waymo_720p() -> MultiviewTrainConfig:
    """Return the published post-training of the 2 B network on five Waymo cameras, 704 x 1280, on 8 GPUs."""
    return MultiviewTrainConfig(
        recipe="predict2_multiview_2b_720p_10fps_7views_29frames_waymo5views",
        model=MultiviewModelConfig(ema=EmaConfig(enabled=True, kind="power")),
        optim=_published_optimizer(),
        trainer=TrainerConfig(
            precision="bf16", max_steps=100_000, log_every=100, save_every=500, val_every=0, val_at_start=False,
            export=False,
        ),
        parallel=ParallelConfig(context=8, recompute="selective"),
        log=LogConfig(project="posttraining", group="multiview", name=_RUN.format("720p")),
    )  # fmt: skip


def waymo_480p() -> MultiviewTrainConfig:
    """Return the same with images of 480 x 848."""
    run = waymo_720p()
    run.recipe = "predict2_multiview_training_2b_480p_10fps_7views_29frames_waymo5views"
    run.data = MultiviewDataConfig(latent_shape=_480P)
    run.log.name = _RUN.format("480p")
    return run


def waymo_720p_lora() -> MultiviewTrainConfig:
    """Return the published training of low-rank updates: 560 tensors, 22,937,600 parameters."""
    run = waymo_720p()
    run.recipe = "predict2_multiview_lora_training_2b_720p_10fps_7views_29frames_waymo5views"
    run.model.lora = _published_updates()
    run.trainer.checkpoint_trained_only, run.trainer.export = True, True
    run.log.name = f"lora_{_RUN.format('720p')}"
    return run


def single_gpu() -> MultiviewTrainConfig:
    """Return low-rank updates at 480 x 848 on one GPU; give ``data.vae.cache`` so that each window is encoded once."""
    run = waymo_480p()
    run.recipe, run.model.lora = "single_gpu", _published_updates()
    run.parallel = ParallelConfig(recompute="full", compile=True)
    run.trainer.checkpoint_trained_only, run.trainer.export = True, True
    run.optim = OptimConfig(lr=1e-4, betas=[0.9, 0.99], weight_decay=0.1, warmup_steps=100)
    run.trainer.max_steps, run.trainer.log_every = 5000, 10
    run.log.name = "single_gpu"
    return run


def debug() -> MultiviewTrainConfig:
    """Return a run of under a minute on one CPU core: synthetic latents of two views, a network of 0.4 M parameters."""
    trainer = TrainerConfig(max_steps=30, log_every=1, val_every=15, save_every=10, accelerator="cpu", val_batches=2)
    return MultiviewTrainConfig(
        recipe="debug",
        synthetic_clips=16,
        model=MultiviewModelConfig(name="predict2_debug_multiview", ema=EmaConfig(enabled=True, kind="power")),
        data=MultiviewDataConfig(
            batch_size=2, workers=0, shuffle=4, view_ids=[0, 5], latent_shape=[16, 2, 8, 12], text_shape=[8, 64]
        ),
        optim=OptimConfig(lr=2e-3, betas=[0.9, 0.99], warmup_steps=5),
        trainer=trainer,
        log=LogConfig(project="posttraining", group="multiview", name="debug"),
    )


def _published_optimizer() -> OptimConfig:
    """AdamW; warm-up and a linear decay from its end (published: factors 1e-6, 0.25 and 0.1 of 2^-14.5)."""
    return OptimConfig(
        lr=_PEAK_LR, betas=[0.9, 0.99], weight_decay=0.1, warmup_steps=2000, warmup_from=1e-6 / 0.25,
        decay_until=40_000, decay="linear", decay_to=0.1 / 0.25,
    )  # fmt: skip


def _published_updates() -> LoraConfig:
    targets = ["q_proj", "k_proj", "v_proj", "output_proj", "mlp.layer1", "mlp.layer2"]
    return LoraConfig(rank=16, alpha=16.0, targets=targets)


def _named(name: str) -> MultiviewTrainConfig:
    run = waymo_720p()
    run.recipe = name
    return run


def _published_training_720p() -> MultiviewTrainConfig:
    """Return :func:`waymo_720p` by the name of the published experiment."""
    return _named("predict2_multiview_training_2b_720p_10fps_7views_29frames_waymo5views")


FAMILY = Family(
    name="multiview",
    config=MultiviewTrainConfig,
    job="cosmos_lidar.families.multiview.job",
    recipes={
        "predict2_multiview_2b_720p_10fps_7views_29frames_waymo5views": waymo_720p,
        "predict2_multiview_training_2b_720p_10fps_7views_29frames_waymo5views": _published_training_720p,
        "predict2_multiview_lora_training_2b_720p_10fps_7views_29frames_waymo5views": waymo_720p_lora,
        "predict2_multiview_training_2b_480p_10fps_7views_29frames_waymo5views": waymo_480p,
        "single_gpu": single_gpu,
        "debug": debug,
    },
    aliases=PUBLISHED_KEYS,
)
RECIPES, train = FAMILY.recipes, FAMILY.train

if __name__ == "__main__":
    sys.exit(FAMILY.main())
