"""Recipes of multi-view training: the published experiments by their names, and their numbers."""

from __future__ import annotations

import pytest

from cosmos_lidar.recipes.multiview import FAMILY, RECIPES
from cosmos_lidar.training.schedule import lr_factor

_PUBLISHED = "predict2_multiview_{}_2b_{}_10fps_7views_29frames_waymo5views"


@pytest.mark.parametrize("name", RECIPES)
def test_every_variant_can_be_checked(name: str) -> None:
    run = RECIPES[name]()
    assert run.recipe == name
    run.data.path = "shards"
    run.synthetic_clips = 0
    FAMILY.check(run)


@pytest.mark.parametrize("experiment", [("training", "720p"), ("lora_training", "720p"), ("training", "480p")])
def test_the_published_experiments(experiment: tuple[str, str]) -> None:
    run, _ = FAMILY.choose([f"experiment={_PUBLISHED.format(*experiment)}", "data.path=shards"])
    assert run.data.view_ids == [4, 5, 0, 1, 2]
    assert run.data.size == {"720p": (704, 1280), "480p": (480, 848)}[experiment[1]]
    assert (run.data.frames, run.data.state_t, run.data.clip_text_shape) == (29, 8, [2560, 1024])
    assert (run.parallel.context, run.trainer.max_steps, run.trainer.save_every) == (8, 100_000, 500)
    rate = {step: run.optim.lr * lr_factor(step, run.optim) / 2**-14.5 for step in (0, 2000, 40_000, 99_999)}
    assert rate == pytest.approx({0: 1e-6, 2000: 0.25, 40_000: 0.1, 99_999: 0.1})
    assert (run.optim.betas, run.optim.eps, run.optim.weight_decay) == ([0.9, 0.99], 1e-8, 0.1)
    assert (run.model.ema.enabled, run.model.ema.kind, run.model.ema.width) == (True, "power", 0.1)
    assert (run.model.loss_scale, run.model.condition.text_dropout) == (10.0, 0.2)
    assert (run.model.lora.rank, run.model.lora.alpha) == ((16, 16.0) if "lora" in experiment[0] else (0, 16.0))


def test_published_option_names() -> None:
    options = ["dataloader_train.dataset.dataset_dir=waymo", "model_parallel.context_parallel_size=4"]
    options += ["model.config.model_manager_config.dit_path=model.pt", "trainer.max_iter=7"]
    run, _ = FAMILY.choose(options, look_at_data=False)
    assert (run.data.path, run.parallel.context, run.model.checkpoint) == ("waymo", 4, "model.pt")
    assert run.trainer.max_steps == 7
