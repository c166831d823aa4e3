from pathlib import Path

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.recipes.registry import family_names, find_family
from cosmos_lidar.training.option_names import NAMES, SHORT_NAMES, translate
from cosmos_lidar.training.overrides import load_config, option_types, save_config


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("optim.lr=1e-4", "optim.lr=1e-4"),
        ("+optim.lr=1e-4", "optim.lr=1e-4"),
        ("++trainer.max_steps=4", "trainer.max_steps=4"),
        ("trainer.strategy.tensor_model_parallel_size=2", "parallel.tensor=2"),
        ("model.tensor_model_parallel_size=2", "parallel.tensor=2"),
        ("model_parallel.context_parallel_size=2", "parallel.context=2"),
        ("data.micro_batch_size=4", "data.batch_size=4"),
        ("micro_batch_size=4", "data.batch_size=4"),
        ("data.global_batch_size=64", "trainer.global_batch_size=64"),
        ("model.recompute_granularity=full", "parallel.recompute=full"),
        ("recompute_granularity=null", "parallel.recompute=none"),
        ("trainer.precision=bf16-mixed", "trainer.precision=bf16"),
        ("scheduler.warm_up_steps=[2500]", "optim.warmup_steps=2500"),
        ("job.name=a=b", "log.name=a=b"),
        ("experiment=debug", "recipe=debug"),
        ("mine.x=1", "model.name=1"),
        ("other.tensor_model_parallel_size=2", "other.tensor_model_parallel_size=2"),  # then refused as unknown
        ("trainer.pipeline_model_parallel_size=1", None),
        ("model.sequence_parallel=False", None),
    ],
)
def test_names_of_other_frameworks(text, ours):
    assert translate(text, {"mine.x": "model.name"}) == ours


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trainer.strategy.pipeline_model_parallel_size=2", "parallel.data_shard"),
        ("sequence_parallel=true", "parallel.context"),
        ("model.expert_model_parallel_size=4", "experts"),
        ("trainer.devices=8", "torchrun --nproc_per_node"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(text, said):
    with pytest.raises(UserError) as error:
        translate(text, {})
    assert text in str(error.value)
    assert said in str(error.value)


@pytest.mark.parametrize("name", family_names())
def test_every_translation_is_an_option_of_every_family(name):
    family = find_family(name)
    known = set(option_types(family.config)) | {"recipe"}
    names = {**SHORT_NAMES, **NAMES, **family.aliases}
    assert {key: ours for key, ours in names.items() if ours not in known} == {}


@pytest.mark.parametrize("name", family_names())
def test_a_command_line_of_nemo_is_understood_by_every_recipe(name):
    words = ["--yes", "++trainer.max_steps=7", "trainer.strategy.tensor_model_parallel_size=2",
             "model.context_parallel_size=2", "data.micro_batch_size=3", "data.global_batch_size=12",
             "model.recompute_granularity=full", "trainer.val_check_interval=5", "trainer.limit_val_batches=1",
             "trainer.log_every_n_steps=2", "data.num_workers=1", "optim.config.lr=0.5",
             "trainer.strategy.pipeline_model_parallel_size=1"]  # fmt: skip
    run, args = find_family(name).choose(words)
    assert args.yes
    assert (run.parallel.tensor, run.parallel.context, run.parallel.recompute) == (2, 2, "full")
    assert (run.data.batch_size, run.data.workers, run.trainer.global_batch_size) == (3, 1, 12)
    trainer = run.trainer
    assert (trainer.max_steps, trainer.val_every, trainer.val_batches, trainer.log_every) == (7, 5, 1, 2)
    assert run.optim.lr == 0.5


@pytest.mark.parametrize("name", family_names())
def test_every_recipe_knows_the_shuffle_buffer_by_one_name(name: str) -> None:
    family = find_family(name)
    run, _ = family.choose(["recipe=debug", "data.shuffle_buffer=7"])
    found = run.data.shuffle_runs if name == "lidar_tokenizer" else run.data.shuffle
    assert found == 7


@pytest.mark.parametrize("name", ["dit", "lidargen"])
def test_former_names_on_the_command_line_and_in_configurations_of_older_runs(name: str, tmp_path: Path) -> None:
    family = find_family(name)
    run, _ = family.choose(["recipe=debug", "model.lora.also_trained=[final_layer]"])
    assert run.model.lora.modules_to_save == ["final_layer"]
    save_config(run, tmp_path / "config.yaml")
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text.replace("modules_to_save", "also_trained"))
    assert load_config(type(run), tmp_path / "config.yaml").model.lora.modules_to_save == ["final_layer"]
