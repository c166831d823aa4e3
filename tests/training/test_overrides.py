import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.families.lidar_tokenizer.config import LidarTokenizerTrainConfig
from cosmos_lidar.recipes.lidar_tokenizer import RECIPES, debug
from cosmos_lidar.training.command_line import choose
from cosmos_lidar.training.overrides import (
    apply_overrides,
    check_types,
    choices,
    describe,
    load_config,
    option_types,
    save_config,
    without_interpolation,
)


def test_overrides_are_typed():
    run = apply_overrides(debug(), ["optim.lr=2e-5", "trainer.max_steps=7", "data.path=12", "model.channels=null",
                                    "optim.betas=[0.1, 0.2]", "model.loss.masked=true"])  # fmt: skip
    assert (run.optim.lr, run.trainer.max_steps, run.data.path, run.model.channels) == (2e-5, 7, "12", None)
    assert run.optim.betas == [0.1, 0.2]
    assert run.model.loss.masked is True
    assert isinstance(run, LidarTokenizerTrainConfig)
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
    assert load_config(LidarTokenizerTrainConfig, tmp_path / "config.yaml") == run
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
        load_config(LidarTokenizerTrainConfig, path)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    with pytest.raises(DataError, match="cannot be read"):
        load_config(LidarTokenizerTrainConfig, tmp_path / "none.yaml")


@pytest.mark.parametrize("name", ["config.yaml", "config.json"])
def test_a_configuration_of_another_family_is_named(tmp_path: Path, name: str) -> None:
    options = {"family": "also_pretrain", "model": {"backbone": "minkunet18"}}
    model = {"family": "also", "dtype": "float32", "license": "", "run": options}
    path = tmp_path / name
    path.write_text(json.dumps(model if name == "config.json" else options))
    with pytest.raises(DataError) as refused:
        load_config(LidarTokenizerTrainConfig, path)
    assert (refused.value.problem, refused.value.file) == ("options of also_pretrain", path)
    assert refused.value.wanted == "those of a run of lidar_tokenizer"
    options["family"] = "my_recipe"  # a recipe file of the user, whose configuration is that of a family
    options["model"] = {"channels": 32}
    path.write_text(json.dumps(model if name == "config.json" else options))
    assert load_config(LidarTokenizerTrainConfig, path).model.channels == 32


def test_every_option_is_described():
    rows = list(describe(LidarTokenizerTrainConfig()))
    assert len(rows) > 40
    assert all(text for _, _, text in rows)


def test_choices_come_from_annotations():
    known = option_types(LidarTokenizerTrainConfig)
    assert choices(known["trainer.precision"]) == ("fp32", "bf16", "fp8")
    assert choices(known["log.wandb"]) == (True, False, "auto")
    assert choices(known["model.channels"]) == choices(known["optim.lr"]) == choices(known["optim.betas"]) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trainer.precision=fp16", "trainer.precision=fp16: valid: fp32, bf16, fp8 (did you mean bf16?)"),
        ("guard.spike=ignore", "guard.spike=ignore: valid: off, skip, rollback"),
        ("log.wandb=maybe", "log.wandb=maybe: valid: true, false, auto"),
        ("trainer.max_steps=many", "trainer.max_steps=many: expected int, got 'many'"),
        ("model.channels=wide", "model.channels=wide: expected int | None, got 'wide'"),
        ("parallel.recompute=ffull", "(did you mean full?)"),
    ],
)
def test_a_wrong_choice_lists_the_valid_ones(text, said):
    with pytest.raises(UserError) as error:
        apply_overrides(debug(), [text])
    assert said in str(error.value)


def test_off_is_a_choice_and_no_truth_value(tmp_path: Path):
    path = tmp_path / "config.yaml"
    path.write_text("guard: {spike: off}\nlog: {wandb: auto, name: 12}\n")
    run = load_config(LidarTokenizerTrainConfig, path)
    assert (run.guard.spike, run.log.wandb, run.log.name) == ("off", "auto", "12")
    assert apply_overrides(run, ["log.wandb=true"]).log.wandb is True


def test_former_names_in_a_file(tmp_path: Path):
    path = tmp_path / "config.yaml"
    path.write_text("trainer: {steps: 5}\n")
    with pytest.raises(UserError, match="trainer.steps"):
        load_config(LidarTokenizerTrainConfig, path)
    run = load_config(LidarTokenizerTrainConfig, path, {"trainer.steps": "trainer.max_steps"})
    assert run.trainer.max_steps == 5


def test_values_set_in_python_are_checked_too():
    @dataclass
    class Part:
        kind: Literal["a", "b"] = "a"
        sizes: list[int] = field(default_factory=list)

    @dataclass
    class Whole:
        part: Part = field(default_factory=Part)
        text: str = ""

    Whole.__annotations__["part"] = Part
    check_types(Whole())
    for wrong, said in ((Part("c"), "part.kind=c: valid: a, b"), (Part(sizes=["x"]), "expected list\\[int\\]")):
        with pytest.raises(UserError, match=said):
            check_types(Whole(wrong))


@pytest.mark.parametrize("text", ["runs/${oops}", "runs/$" + "{HOME", "a\\${b}", "plain", "$x {y}"])
def test_what_looks_like_interpolation_is_taken_as_it_stands(text: str, tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    run = apply_overrides(debug(), [f"log.root={text}"])
    assert run.log.root == text
    save_config(run, tmp_path / "config.yaml")
    assert load_config(type(run), tmp_path / "config.yaml").log.root == text
    tree: object = without_interpolation({"log": {"root": text, "several": [text]}})
    for _ in range(3):  # as often as NeMo has its copy resolved
        tree = OmegaConf.to_container(OmegaConf.create(tree), resolve=True)
    assert tree == {"log": {"root": text.replace("${", "$ {"), "several": [text.replace("${", "$ {")]}}
