import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.recipes.lidar_tokenizer import ci8x8_512, debug
from cosmos_lidar.recipes.registry import find_family
from cosmos_lidar.training.config import EmaConfig, OptimConfig, TrainConfig, accumulation, check_run
from cosmos_lidar.training.overrides import apply_overrides
from tests.training.sparse_family import debug as voxels


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.path=x"], ["model.loss.perceptual_weights", "model.loss.perceptual=0"]),
        (["model.loss.perceptual=0"], ["data.path"]),
        (["data.path=x", "model.loss.perceptual=0", "data.val_split=train"], ["data.val_split", "train"]),
        (["trainer.precision=fp64"], ["trainer.precision=fp64", "bf16"]),
        (["trainer.max_steps=0"], ["trainer.max_steps=0", "at least 1"]),
        (["optim.betas=[0.5]"], ["optim.betas"]),
        (["model.ema.decay=1.0"], ["model.ema.decay"]),
    ],
)
def test_impossible_combinations_are_refused_at_the_start(overrides, said):
    with pytest.raises(UserError) as error:
        apply_overrides(ci8x8_512(), overrides).check()
    assert all(part in str(error.value) for part in said), str(error.value)


def test_published_settings():
    run = ci8x8_512()
    assert (run.data.batch_size, run.data.frames_per_clip, run.data.crop_columns) == (10, 10, 896)
    assert (run.trainer.max_steps, run.trainer.seed) == (10_000, 1234)
    assert (run.optim.lr, run.optim.betas, run.optim.eps, run.optim.weight_decay) == (4e-5, [0.5, 0.999], 1e-8, 0.01)
    assert (run.optim.warmup_steps, run.optim.clip_norm) == (5000, 1.0)
    assert (run.trainer.val_every, run.trainer.save_every, run.trainer.log_every) == (500, 2000, 100)
    assert (run.model.loss.color, run.model.loss.perceptual, run.model.ema.enabled) == (1.0, 0.1, False)
    assert (run.model.resolution, run.trainer.precision) == (512, "fp32")


def test_shared_defaults_are_nobodys():
    optim, ema = OptimConfig(), EmaConfig()
    assert (optim.betas, optim.warmup_steps, optim.decay_until) == ([0.9, 0.999], 0, 0)
    assert not ema.enabled
    with pytest.raises(TypeError, match="declares model and data"):
        TrainConfig()


@pytest.mark.parametrize(("total", "ranks", "batches"), [(0, 4, 3), (8, 4, 1), (32, 4, 4), (6, 1, 3)])
def test_a_global_batch_size_is_micro_batches_of_all_ranks(total, ranks, batches):
    run = apply_overrides(debug(), ["trainer.accumulate=3", f"trainer.global_batch_size={total}", "data.batch_size=2"])
    assert accumulation(run, ranks) == batches


def test_a_global_batch_size_that_does_not_divide():
    run = apply_overrides(debug(), ["trainer.global_batch_size=20", "data.batch_size=2"])
    with pytest.raises(UserError) as error:
        accumulation(run, 4)
    said = str(error.value)
    assert "trainer.global_batch_size=20: not a multiple of 8" in said
    assert "data.batch_size=2 on 4 data ranks; valid: 16, 24" in said


@pytest.mark.parametrize(
    ("option", "found"),
    [("data.batch_size=0", "data.batch_size=0: expected at least 1"), ("data.workers=-1", "expected at least 0")],
)
@pytest.mark.parametrize("family", ["voxels", "dit", "lidar_tokenizer", "lidargen", "video_tokenizer"])
def test_what_every_family_loads_data_with_is_bounded_once(family: str, option: str, found: str):
    """Also of a family that does not check it itself."""
    config = voxels() if family == "voxels" else find_family(family).recipes["debug"]()
    with pytest.raises(UserError, match=found):
        check_run(apply_overrides(config, [option]))
