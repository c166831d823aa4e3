import pytest
import torch

from cosmos_lidar.errors import RanksMissingError, UserError
from cosmos_lidar.recipes.lidar_tokenizer import RECIPES
from cosmos_lidar.training.command_line import choose, recipe_main


def test_command_line_messages(capsys):
    assert recipe_main(RECIPES, lambda run: 0, ["recipe=large"]) == 2
    assert "recipe=large: valid: ci8x8_512, cv4x8x8_lidar, debug" in capsys.readouterr().err
    assert recipe_main(RECIPES, lambda run: 0, ["--yes", "recipe=debug", "trainer.max_steps=4", "--dryrun"]) == 0
    assert "max_steps: 4" in capsys.readouterr().out
    assert recipe_main(RECIPES, lambda run: 15, ["recipe=debug"]) == 143
    with pytest.raises(SystemExit):
        recipe_main(RECIPES, lambda run: 0, ["--help"])
    assert "optim.warmup_steps=5000" in capsys.readouterr().out


def test_help_lists_choices_and_further_names(capsys):
    with pytest.raises(SystemExit):
        recipe_main(RECIPES, lambda run: 0, ["--help"], {"trainer.steps": "trainer.max_steps"})
    shown = capsys.readouterr().out
    assert "trainer.precision=fp32   fp32 | bf16 | fp8" in shown
    assert "optimizer steps (or trainer.max_iter, trainer.steps)" in shown
    assert "(or tensor_model_parallel_size)" in shown
    assert "Refused: devices, expert_model_parallel_size" in shown


def test_the_options_that_were_given_are_known():
    run, args = choose(["++optim.lr=1", "data.micro_batch_size=3", "model.pipeline_model_parallel_size=1"], RECIPES)
    assert args.given == {"optim.lr", "data.batch_size"}
    assert run.data.batch_size == 3
    with pytest.raises(UserError, match="trainer.accumulate and trainer.global_batch_size: give one"):
        choose(["trainer.accumulate=2", "global_batch_size=8"], RECIPES)


def test_ctrl_c_and_missing_ranks_have_their_statuses(capsys):
    def ends_with(error: BaseException):
        def train(run):
            raise error

        return train

    assert recipe_main(RECIPES, ends_with(KeyboardInterrupt()), ["recipe=debug"]) == 130
    assert "stopped by Ctrl-C; checkpoints are kept" in capsys.readouterr().err
    missing = RanksMissingError("rank 3 of 4 did not arrive within 1800 s")
    assert recipe_main(RECIPES, ends_with(missing), ["recipe=debug"]) == 75
    assert "rank 3 of 4 did not arrive within 1800 s" in capsys.readouterr().err


def test_no_memory_and_no_place_to_write_end_with_a_line(capsys, tmp_path):
    def too_large(run):
        torch.empty(2**60, dtype=torch.uint8)

    def refused(run):
        (tmp_path / "file").write_text("")
        (tmp_path / "file" / "below").mkdir()

    assert recipe_main(RECIPES, too_large, ["recipe=debug"]) == 2
    said = capsys.readouterr().err
    assert "out of memory (" in said
    assert "`cosmos-lidar doctor RECIPE` with the same options" in said
    assert said.count("\n") == 1
    assert recipe_main(RECIPES, refused, ["recipe=debug"]) == 2
    assert capsys.readouterr().err.endswith(f"{tmp_path / 'file' / 'below'}: Not a directory\n")

    def wrong(run):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        recipe_main(RECIPES, wrong, ["recipe=debug"])
