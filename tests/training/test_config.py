from pathlib import Path

import pytest

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.lidar_tokenizer.config import TokenizerRun, check
from cosmos_lidar.training.command_line import choose, recipe_main
from cosmos_lidar.training.overrides import apply_overrides, describe, load_config, save_config
from recipes.lidar_tokenizer import RECIPES, ci8x8_512, debug


def test_overrides_are_typed():
    run = apply_overrides(debug(), ["optim.lr=2e-5", "trainer.max_steps=7", "data.path=12", "model.channels=null",
                                    "optim.betas=[0.1, 0.2]", "model.loss.masked=true"])  # fmt: skip
    assert (run.optim.lr, run.trainer.max_steps, run.data.path, run.model.channels) == (2e-5, 7, "12", None)
    assert run.optim.betas == [0.1, 0.2]
    assert run.model.loss.masked is True
    assert isinstance(run, TokenizerRun)
    assert debug().trainer.max_steps != 7  # the recipe itself is untouched


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trainer.max_step=3", ["'trainer.max_step'", "'trainer.max_steps'"]),
        ("lr=3", ["'lr'", "nearest"]),
        ("model=3", ["'model'"]),
        ("trainer.max_steps=many", ["trainer.max_steps=many", "int"]),
        ("trainer.max_steps=1.5", ["trainer.max_steps=1.5", "int"]),
        ("trainer.max_steps=null", ["trainer.max_steps=null", "int"]),
        ("trainer.max_steps=true", ["trainer.max_steps=true", "int"]),
        ("model.loss.masked=3", ["model.loss.masked=3", "bool"]),
        ("optim.betas=3", ["optim.betas=3", "list[float]"]),
        ("optim.betas=[a,b]", ["optim.betas=[a,b]", "list[float]"]),
        ("optim.lr={a: 1}", ["optim.lr={a: 1}", "float"]),
        ("--", ["key=value"]),
    ],
)
def test_wrong_overrides_name_key_value_and_type(text, said):
    with pytest.raises(UserError) as error:
        apply_overrides(debug(), [text])
    assert all(part in str(error.value) for part in said), str(error.value)


def test_a_run_comes_back_from_its_file(tmp_path: Path):
    run = apply_overrides(debug(), ["optim.lr=1e-05", "log.name=a b", "model.checkpoint="])
    save_config(run, tmp_path / "config.yaml")
    assert load_config(TokenizerRun, tmp_path / "config.yaml") == run
    chosen, args = choose(["--config", str(tmp_path / "config.yaml"), "trainer.seed=5", "--dryrun"], RECIPES)
    assert chosen.trainer.seed == 5
    assert chosen.optim.lr == 1e-5
    assert args.dryrun
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trainer: {max_stepz: 3}", "trainer.max_stepz"),
        ("trainer: {max_steps: x}", "trainer.max_steps=x"),
        ("- 1", "not a mapping"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text, said):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_config(TokenizerRun, path)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    with pytest.raises(DataError, match="cannot be read"):
        load_config(TokenizerRun, tmp_path / "none.yaml")


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
        check(apply_overrides(ci8x8_512(), overrides))
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


def test_every_option_is_described():
    rows = list(describe(TokenizerRun()))
    assert len(rows) > 40
    assert all(text for _, _, text in rows)


def test_command_line_messages(capsys):
    assert recipe_main(RECIPES, lambda run: 0, ["recipe=large"]) == 2
    assert "recipe=large: choose ci8x8_512 or cv4x8x8_lidar or debug" in capsys.readouterr().err
    assert recipe_main(RECIPES, lambda run: 0, ["--yes", "recipe=debug", "trainer.max_steps=4", "--dryrun"]) == 0
    assert "max_steps: 4" in capsys.readouterr().out
    assert recipe_main(RECIPES, lambda run: 15, ["recipe=debug"]) == 143
    with pytest.raises(SystemExit):
        recipe_main(RECIPES, lambda run: 0, ["--help"])
    assert "optim.warmup_steps=5000" in capsys.readouterr().out
